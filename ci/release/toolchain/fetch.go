package toolchain

import (
	"context"
	"fmt"
	"path"

	"dagger/gantry/internal/dagger"
)

// Logins of private dependencies.
type Logins struct {
	// RegistryVariables are the environment variables with RegistryTokens, in the same
	// order.
	RegistryVariables []string
	RegistryTokens    []*dagger.Secret
	// GitAddresses are the servers of GitUsers and GitSecrets, in the same order.
	GitAddresses []string
	GitUsers     []string
	GitSecrets   []*dagger.Secret
	// Certificates are trusted in addition to the system's; nil for none.
	Certificates *dagger.File
}

// none reports whether there is no login.
func (l Logins) none() bool { return len(l.RegistryTokens) == 0 && len(l.GitSecrets) == 0 }

// fetched is where a build finds what was fetched.
const fetched = "/gantry-fetched"

// Fetch downloads the dependencies of a workspace with the caller's logins, in a
// container that compiles nothing. It returns nil without logins: the build then
// downloads them.
func (t Toolchain) Fetch(ctx context.Context, source *dagger.Directory, opts Options) (*dagger.Directory, error) {
	if t.Logins.none() {
		return nil, nil
	}
	ctr := t.base()
	if !opts.Hermetic {
		home, err := cargoHome(ctx, ctr)
		if err != nil {
			return nil, err
		}
		for _, part := range []string{"registry", "git"} {
			ctr = ctr.WithMountedCache(path.Join(home, part), t.Client.CacheVolume("gantry-fetched-"+part+"-"+opts.Cache))
		}
	}
	for i, variable := range t.Logins.RegistryVariables {
		ctr = ctr.WithSecretVariable(variable, t.Logins.RegistryTokens[i])
	}
	for i, address := range t.Logins.GitAddresses {
		ctr = ctr.
			WithEnvVariable(fmt.Sprintf("GANTRY_GIT_ADDRESS_%d", i), address).
			WithEnvVariable(fmt.Sprintf("GANTRY_GIT_USER_%d", i), t.Logins.GitUsers[i]).
			WithSecretVariable(fmt.Sprintf("GANTRY_GIT_SECRET_%d", i), t.Logins.GitSecrets[i])
	}
	if t.Logins.Certificates != nil {
		ctr = ctr.WithMountedFile("/gantry-ca", t.Logins.Certificates)
	}
	out, err := ctr.
		WithMountedDirectory(input, t.buildSource(source, false)).
		WithExec([]string{binDir + "/fetch.sh", opts.Dir}).
		Directory(output).
		Sync(ctx)
	if err != nil {
		return nil, explainBuild("fetch the dependencies", err)
	}
	return out, nil
}
