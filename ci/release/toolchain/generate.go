package toolchain

import (
	"context"
	"path"
	"strconv"

	"dagger/gantry/ci/engine"
	"dagger/gantry/ci/release/plan"
	"dagger/gantry/internal/dagger"
)

// Platform returns the platform of the containers, such as "linux/amd64".
func (t Toolchain) Platform(ctx context.Context) (string, error) {
	platform, err := t.base().Platform(ctx)
	if err != nil {
		return "", t.noImage(err)
	}
	return string(platform), nil
}

// Generate runs binaries, given by their names, and returns a directory of what they
// print. The epoch is the commit time in seconds.
func (t Toolchain) Generate(ctx context.Context, binaries map[string]*dagger.File, files []plan.Generated, epoch int64) (*dagger.Directory, error) {
	ctr := t.base().WithEnvVariable("SOURCE_DATE_EPOCH", strconv.FormatInt(epoch, 10))
	for name, file := range binaries {
		ctr = ctr.WithFile(path.Join(input, name), file, dagger.ContainerWithFileOpts{Permissions: 0o755})
	}
	for _, f := range files {
		ctr = ctr.WithExec(append([]string{binDir + "/generate.sh", path.Join(output, f.Path), path.Join(input, f.Bin)}, f.Args...))
	}
	out, err := ctr.Directory(output).Sync(ctx)
	if err != nil {
		return nil, engine.Explain("generate files for the archives", err)
	}
	return out, nil
}
