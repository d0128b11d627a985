package cargo

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// ManifestDir returns the directory in the source of the Cargo.toml at a path. An
// empty path means the Cargo.toml at the top of the source.
func ManifestDir(manifestPath string) (string, error) {
	if manifestPath == "" {
		return ".", nil
	}
	clean := path.Clean(strings.ReplaceAll(manifestPath, `\`, "/"))
	if path.IsAbs(clean) || clean == ".." || strings.HasPrefix(clean, "../") {
		return "", fmt.Errorf("--manifest-path=%s is not in the source: pass a path relative to its top, such as \"rust/Cargo.toml\"", manifestPath)
	}
	if path.Base(clean) != "Cargo.toml" {
		return "", fmt.Errorf("--manifest-path=%s does not name a Cargo.toml: pass --manifest-path=%s", manifestPath, path.Join(clean, "Cargo.toml"))
	}
	return path.Dir(clean), nil
}

// NoManifest returns the error for a source that lacks the Cargo.toml at a path.
// found are the paths of those that it has, entries the names at its top.
func NoManifest(manifest string, found, entries []string) error {
	fix := "pass --source with the directory that has one"
	if len(found) > 0 {
		nearest := slices.MinFunc(found, func(a, b string) int {
			return cmp.Or(strings.Count(a, "/")-strings.Count(b, "/"), strings.Compare(a, b))
		})
		fix += fmt.Sprintf(", or --manifest-path=%s for the one in this source", nearest)
		if nearest == "Cargo.toml" {
			fix = "omit --manifest-path for the one at its top"
		}
	}
	if manifest == "Cargo.toml" {
		return fmt.Errorf("the source is not a Cargo workspace: it has no Cargo.toml at its top (it has %s); %s", List(entries), fix)
	}
	return fmt.Errorf("the source has no %q; %s", manifest, fix)
}

var (
	inherits   = regexp.MustCompile("error inheriting `([^`]+)` from workspace root")
	unreadable = regexp.MustCompile("failed to read `([^`]+Cargo\\.toml)`")
)

// MemberHint explains how to pass the whole workspace if Cargo's standard error
// shows that the source at root is only one member of it. It is empty for other
// failures.
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
	return fmt.Sprintf("--source is only a part of the project: %s, whose root is not in the source: pass the repository with the workspace's root as --source, and if that root is not at its top, --manifest-path with the path of its Cargo.toml, such as --manifest-path=rust/Cargo.toml", why)
}

// List joins at most ten names for a message.
func List(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	if len(names) > 10 {
		return strings.Join(names[:10], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}
