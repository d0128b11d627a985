package release

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/Khan/genqlient/graphql"

	"dagger/gantry/internal/dagger"
)

// gitTree returns the commit of a remote repository with its .git: the whole history,
// and the tags.
//
// Engines from 0.20.1 on omit the tags unless an argument asks for them, which older
// engines and the generated client don't have; without tags, every release would look
// like the first. So this asks the engine whether it has the argument.
func gitTree(ctx context.Context, client *dagger.Client, ref *dagger.GitRef) (*dagger.Directory, error) {
	const doing = "fetch the repository of --git"
	var schema struct {
		Type struct {
			Fields []struct {
				Name string
				Args []struct{ Name string }
			}
		} `json:"__type"`
	}
	if err := query(ctx, client, `query { __type(name: "GitRef") { fields { name args { name } } } }`, nil, &schema); err != nil {
		return nil, fmt.Errorf("%s: ask the engine for its schema: %v", doing, err)
	}
	// Any depth below 1 means all.
	args := []string{"depth: -1"}
	for _, f := range schema.Type.Fields {
		for _, a := range f.Args {
			if f.Name == "tree" && a.Name == "includeTags" {
				args = append(args, "includeTags: true")
			}
		}
	}
	id, err := ref.ID(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %v", doing, err)
	}
	var loaded struct {
		LoadGitRefFromID struct {
			Tree struct{ ID dagger.DirectoryID }
		}
	}
	text := `query($ref: GitRefID!) { loadGitRefFromID(id: $ref) { tree(` + strings.Join(slices.Compact(args), ", ") + `) { id } } }`
	if err := query(ctx, client, text, map[string]any{"ref": id}, &loaded); err != nil {
		return nil, fmt.Errorf("%s: %v", doing, err)
	}
	return client.LoadDirectoryFromID(loaded.LoadGitRefFromID.Tree.ID), nil
}

func query(ctx context.Context, client *dagger.Client, text string, variables map[string]any, into any) error {
	return client.GraphQLClient().MakeRequest(ctx, &graphql.Request{Query: text, Variables: variables}, &graphql.Response{Data: into})
}
