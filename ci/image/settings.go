package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"dagger/gantry/ci/engine"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/image/registries"
	"dagger/gantry/ci/published"
	"dagger/gantry/internal/dagger"
)

// Settings name the releases, and the logins and addresses of registries.
type Settings struct {
	// GitHub has the releases of Repository, "owner/name"; Token reads them, or is
	// nil.
	GitHub     engine.GitHub
	Repository string
	Token      *dagger.Secret
	// Wait is the time to wait for the release of an event, in seconds.
	Wait int
	// Each registry of LoginAddresses has a user name and a secret in the same
	// place of the other two lists.
	LoginAddresses, LoginUsers []string
	LoginSecrets               []*dagger.Secret
	// DockerConfig is Docker's config.json, or nil.
	DockerConfig *dagger.Secret
	// PlainHTTP lists the registries that are reached without TLS.
	PlainHTTP []string
	// Mirrors of registries of base images, each as HOST=URL.
	Mirrors []string
	// Override holds image settings that replace those of a release, as text; see
	// [published.Settings.Text].
	Override string
	// SkipSmoke skips the smoke test.
	SkipSmoke bool
	// SkipAttachments attaches nothing.
	SkipAttachments bool
}

func (s Settings) client(ctx context.Context) (*github.Client, error) {
	if s.Repository == "" {
		return nil, errors.New("the repository of the releases is not known: pass --repository=owner/name")
	}
	return s.GitHub.Client(ctx, s.Token)
}

// Event returns the contents of the file of an event.
func Event(ctx context.Context, file *dagger.File) ([]byte, error) {
	text, err := file.Contents(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the event: %v", err)
	}
	return []byte(text), nil
}

// find reads the release of a tag or, if event is not nil, the one that it is about.
func (s Settings) find(ctx context.Context, tag string, event []byte) (*published.Release, error) {
	client, err := s.client(ctx)
	if err != nil {
		return nil, err
	}
	return published.Find(ctx, client, published.Request{Repository: s.Repository, Tag: tag, Event: event}, published.Options{
		Wait: time.Duration(s.Wait) * time.Second, Settings: s.Override,
		Progress: func(why string) { fmt.Fprintf(os.Stderr, "waiting for the release: %s\n", why) },
	})
}

// registries reads the secrets and files of the settings.
func (s Settings) registries(ctx context.Context) (registries.Settings, error) {
	out := registries.Settings{PlainHTTP: s.PlainHTTP, Mirrors: s.Mirrors}
	for i, address := range s.LoginAddresses {
		password, err := s.LoginSecrets[i].Plaintext(ctx)
		if err != nil {
			return out, fmt.Errorf("read the secret of %s: %v", address, err)
		}
		out.Logins = append(out.Logins, registries.Login{Address: address, Username: s.LoginUsers[i], Password: password})
	}
	if s.DockerConfig != nil {
		config, err := s.DockerConfig.Plaintext(ctx)
		if err != nil {
			return out, fmt.Errorf("read Docker's config.json: %v", err)
		}
		out.DockerConfig = []byte(config)
	}
	var err error
	out.RootCAs, err = engine.PEM(ctx, s.GitHub.Certificates)
	return out, err
}
