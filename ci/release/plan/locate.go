package plan

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// ManifestDir is the folder in the source of the Cargo.toml at a path; the empty
// path is that at the top of the source.
func ManifestDir(manifestPath string) (string, error) {
	if manifestPath == "" {
		return ".", nil
	}
	clean := path.Clean(strings.ReplaceAll(manifestPath, `\`, "/"))
	if path.IsAbs(clean) || clean == ".." || strings.HasPrefix(clean, "../") {
		return "", fmt.Errorf("manifest path %q is not in the source: write it from the top of the source, such as \"rust/Cargo.toml\"", manifestPath)
	}
	if path.Base(clean) != "Cargo.toml" {
		return "", fmt.Errorf("manifest path %q does not name a Cargo.toml: pass --manifest-path=%s", manifestPath, path.Join(clean, "Cargo.toml"))
	}
	return path.Dir(clean), nil
}

// NoManifest is the error for a source without the Cargo.toml that was looked
// for. found are the paths of those it has, and entries what is at its top.
func NoManifest(manifest string, found, entries []string) error {
	way := "pass --source with the folder that has"
	if len(found) > 0 {
		nearest := slices.MinFunc(found, func(a, b string) int {
			if d := strings.Count(a, "/") - strings.Count(b, "/"); d != 0 {
				return d
			}
			return strings.Compare(a, b)
		})
		way += fmt.Sprintf(", or --manifest-path=%s for the one that is in this source", nearest)
		if nearest == "Cargo.toml" {
			way = "there is one at its top, which needs no --manifest-path"
		}
	}
	if manifest == "Cargo.toml" {
		return fmt.Errorf("the source is not a Cargo workspace: it has no Cargo.toml at its top (it has %s); %s", some(entries), way)
	}
	return fmt.Errorf("the source has no %q; %s", manifest, way)
}

var (
	inherits   = regexp.MustCompile("error inheriting `([^`]+)` from workspace root")
	unreadable = regexp.MustCompile("failed to read `([^`]+Cargo\\.toml)`")
)

// MemberHint says what to pass where Cargo failed, with the text given on its
// standard error, to find the root of the workspace that the source at root is a
// member of. It is empty for other failures.
func MemberHint(stderr, root string) string {
	why := ""
	if m := unreadable.FindStringSubmatch(stderr); m != nil && !strings.HasPrefix(m[1], root+"/") {
		why = "its Cargo.toml names a package above it"
	} else if strings.Contains(stderr, "failed to find a workspace root") {
		why = "its Cargo.toml belongs to a workspace"
		if m := inherits.FindStringSubmatch(stderr); m != nil {
			why = fmt.Sprintf("its Cargo.toml inherits %q from its workspace", m[1])
		}
	}
	if why == "" {
		return ""
	}
	return fmt.Sprintf("--source is only a part of the project: %s, whose root is not in the source: pass the repository with the workspace's root as --source, and where that root is not at its top, --manifest-path with the path of its Cargo.toml, such as --manifest-path=rust/Cargo.toml", why)
}

// some of a list, for people.
func some(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	if len(names) > 10 {
		return strings.Join(names[:10], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}
