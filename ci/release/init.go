package release

import (
	"context"
	"slices"

	"dagger/gantry/ci/github"
	"dagger/gantry/ci/scaffold"
	"dagger/gantry/internal/dagger"
)

// Init returns the changes that add the files of a CI to the source, and remove
// those that they replace.
func Init(ctx context.Context, s Settings, o scaffold.Options) (*dagger.Changeset, error) {
	w, err := open(ctx, s)
	if err != nil {
		return nil, err
	}
	client, err := s.GitHub.Client(ctx, nil)
	if err != nil {
		return nil, err
	}
	outline := w.project.Outline(w.git)
	owner, name, err := github.RepositoryAt(s.Repository, outline.Page, client.Host())
	if err != nil {
		return nil, err
	}
	project := scaffold.Project{
		Repository: owner + "/" + name, GitHub: s.GitHub.URL, ManifestPath: s.ManifestPath, Files: w.facts.Files,
		TagPrefixes: outline.TagPrefixes, Images: outline.Images, Unplaced: outline.Unplaced,
	}
	files, err := scaffold.Files(o, project)
	if err != nil {
		return nil, err
	}
	superseded, err := scaffold.Superseded(o, project, func(path string) (string, error) { return w.source.File(path).Contents(ctx) })
	if err != nil {
		return nil, err
	}
	paths := slices.Clone(superseded)
	for _, f := range files {
		paths = append(paths, f.Path)
	}
	before := w.source.Filter(dagger.DirectoryFilterOpts{Include: paths})
	after := before.WithoutFiles(superseded)
	for _, f := range files {
		after = after.WithNewFile(f.Path, f.Text, dagger.DirectoryWithNewFileOpts{Permissions: f.Permissions()})
	}
	return after.Changes(before), nil
}
