package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/Masterminds/semver/v3"

	"dagger/gantry/ci/github"
)

// publishCommand is the first argument that makes this program Gantry's publisher.
const publishCommand = "publish-as-gantry"

// publishAsGantry makes the release as the module's function publish does, without the
// engine around it: [github.Client.Release] with what a plan asks for.
func publishAsGantry(ctx context.Context, args []string) error {
	if len(args) != 3 {
		return errors.New("want the address of the fake GitHub, the commit and the directory of the files")
	}
	client, err := github.New(github.Options{
		APIURL: args[0] + "api/v3/",
		Token:  func(context.Context) (string, error) { return token, nil },
	})
	if err != nil {
		return err
	}
	assets, err := assetsIn(args[2])
	if err != nil {
		return err
	}
	report, err := client.Release(ctx, github.Spec{
		Owner: owner, Repo: repository, Tag: tag, Commit: args[1], Title: tag, Notes: "the notes", Assets: assets, OwnsLatest: true,
		VersionOf: func(tag string) (*semver.Version, bool) {
			v, err := semver.NewVersion(tag)
			return v, err == nil
		},
	})
	if report != nil {
		fmt.Print(report.Text())
	}
	return err
}

// assetsIn returns the files of a directory as assets.
func assetsIn(dir string) ([]github.Asset, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var assets []github.Asset
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		size, sum, err := measure(path)
		if err != nil {
			return nil, err
		}
		assets = append(assets, github.Asset{
			Name: entry.Name(), Size: size, SHA256: sum, ContentType: "application/octet-stream",
			Open: func() (io.ReadCloser, error) { return os.Open(path) },
		})
	}
	return assets, nil
}

// measure returns the size and the digest of a file.
func measure(path string) (size int64, sum string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	h := sha256.New()
	size, err = io.Copy(h, f)
	return size, fmt.Sprintf("%x", h.Sum(nil)), err
}
