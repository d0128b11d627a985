package engine

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"dagger/gantry/ci/attest/keyless"
	"dagger/gantry/internal/dagger"
)

// CosignImage is the image of cosign that signs and verifies without a key: Sigstore's
// own.
const CosignImage = "ghcr.io/sigstore/cosign/cosign:v3.1.3"

// Sigstore is where signatures without a key come from. By default, the public instance.
type Sigstore struct {
	Client *dagger.Client
	// SigningConfig and TrustedRoot describe another instance, or are nil.
	SigningConfig, TrustedRoot *dagger.File
	// Cosign is a container with cosign 3, as its entrypoint or in its PATH. By default,
	// one of [CosignImage].
	Cosign *dagger.Container
}

// instance reads the files.
func (s Sigstore) instance(ctx context.Context) (keyless.Instance, error) {
	i := keyless.Instance{Cosign: s.run}
	for _, file := range []struct {
		flag string
		from *dagger.File
		to   *[]byte
	}{{"--signing-config", s.SigningConfig, &i.SigningConfig}, {"--trusted-root", s.TrustedRoot, &i.TrustedRoot}} {
		if file.from == nil {
			continue
		}
		text, err := file.from.Contents(ctx)
		if err != nil {
			return i, fmt.Errorf("read %s: %v", file.flag, err)
		}
		*file.to = []byte(text)
	}
	return i, nil
}

// cosignDir is the working directory of cosign, and its home.
const cosignDir = "/gantry"

// run runs cosign in a container. It runs each time: what it does depends on the time and
// on servers.
func (s Sigstore) run(ctx context.Context, c keyless.Command) ([]byte, error) {
	container, name := s.Cosign, "the container of --cosign"
	if container == nil {
		container, name = s.Client.Container().From(CosignImage), CosignImage
	}
	entrypoint, err := container.Entrypoint(ctx)
	if err != nil {
		return nil, fmt.Errorf("pull %s: %v: pass another container with cosign: with-sigstore --cosign", name, err)
	}
	args := c.Args
	if len(entrypoint) == 0 {
		args = append([]string{"cosign"}, args...)
	}
	files := s.Client.Directory()
	for name, content := range c.Files {
		files = files.WithNewFile(name, string(content))
	}
	container = container.WithUser("0:0").WithDirectory(cosignDir, files).WithWorkdir(cosignDir).
		WithEnvVariable("HOME", cosignDir).WithEnvVariable("GANTRY_TIME", strconv.FormatInt(time.Now().UnixNano(), 10))
	if c.Token != "" {
		container = container.WithSecretVariable(keyless.TokenVariable, s.Client.SetSecret("identity-token-"+strconv.FormatInt(time.Now().UnixNano(), 10), c.Token))
	}
	container = container.WithExec(args, dagger.ContainerWithExecOpts{UseEntrypoint: true})
	if c.Output == "" {
		_, err = container.Sync(ctx)
		return nil, cosignError(err)
	}
	text, err := container.File(c.Output).Contents(ctx)
	return []byte(text), cosignError(err)
}

// cosignError returns what cosign printed when it failed: the line that starts with
// "Error:", or else the last lines.
func cosignError(err error) error {
	var failed *dagger.ExecError
	if !errors.As(err, &failed) {
		return err
	}
	lines := strings.Split(strings.TrimSpace(failed.Stderr), "\n")
	for _, line := range lines {
		if message, ok := strings.CutPrefix(line, "Error: "); ok {
			return errors.New(message)
		}
	}
	return fmt.Errorf("cosign: exit status %d: %s", failed.ExitCode, strings.Join(lines[max(0, len(lines)-5):], "\n"))
}
