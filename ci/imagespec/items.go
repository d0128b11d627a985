package imagespec

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/nearest"
)

// DefaultUser is the user of an image without a configured one, as in distroless.
const DefaultUser = "65532:65532"

// BinDir is the directory of binaries in an image.
const BinDir = "/usr/local/bin"

// Item is a file of an archive in an image.
type Item struct {
	// Dest is the absolute path in the image.
	Dest string
	// SHA256 of the file, in hexadecimal.
	SHA256 string
	// Mode has the permission bits.
	Mode int64
}

// Items returns, by path in the archive, the files that the image takes and where
// they go: the binaries, and the files that include names.
func Items(a manifest.Asset, include map[string]string) (map[string][]Item, error) {
	l := &layout{archive: a.Name, items: map[string][]Item{}, sources: map[string]string{}}
	for _, b := range a.Binaries {
		l.add(b.Path, Item{path.Join(BinDir, b.Name), b.SHA256, 0o755})
	}
	root, files := rootOf(a), filesOf(a)
	for _, from := range sortedKeys(include) {
		l.include(from, include[from], root, files)
	}
	l.checkParents()
	return l.items, errors.Join(l.errs...)
}

// layout collects the files of an image.
type layout struct {
	archive string
	items   map[string][]Item
	// sources are paths in the archive by paths in the image.
	sources map[string]string
	errs    []error
}

// add puts a file of the archive into the image.
func (l *layout) add(from string, i Item) {
	if err := checkDest(i.Dest); err != nil {
		l.errs = append(l.errs, err)
		return
	}
	if other, taken := l.sources[i.Dest]; taken {
		l.errs = append(l.errs, fmt.Errorf("%w: both %q and %q of archive %q go to %q: move one of them with include of the image configuration", ErrSpec, other, from, l.archive, i.Dest))
		return
	}
	l.sources[i.Dest] = from
	l.items[from] = append(l.items[from], i)
}

// include adds a file, or the files of a directory, that include names.
func (l *layout) include(from, to, root string, files map[string]Item) {
	var known []string
	found := false
	for _, name := range sortedKeys(files) {
		below := strings.TrimPrefix(name, root)
		known = append(known, below)
		i := files[name]
		if rest, inside := strings.CutPrefix(below, from+"/"); inside {
			i.Dest = path.Join(to, rest)
		} else if below != from {
			continue
		} else if i.Dest = to; strings.HasSuffix(to, "/") {
			i.Dest = path.Join(to, path.Base(from))
		}
		found = true
		l.add(name, i)
	}
	if !found {
		l.errs = append(l.errs, fmt.Errorf("%w: include %q is not in archive %q%s: add it to the include of [package.metadata.gantry], which puts files into the archives", ErrSpec, from, l.archive, nearest.Hint(from, known)))
	}
}

// checkParents refuses a file whose directory is a file.
func (l *layout) checkParents() {
	for _, dest := range sortedKeys(l.sources) {
		for dir := path.Dir(dest); dir != "/"; dir = path.Dir(dir) {
			if other, taken := l.sources[dir]; taken {
				l.errs = append(l.errs, fmt.Errorf("%w: %q goes to %q, below the file that %q becomes: move one of them with include of the image configuration", ErrSpec, l.sources[dest], dest, other))
			}
		}
	}
}

// filesOf returns the files of an archive by their paths, without a destination.
func filesOf(a manifest.Asset) map[string]Item {
	files := map[string]Item{}
	for _, b := range a.Binaries {
		files[b.Path] = Item{SHA256: b.SHA256, Mode: 0o755}
	}
	for _, f := range a.Files {
		mode := int64(0o644)
		if f.Mode == "0755" {
			mode = 0o755
		}
		files[f.Path] = Item{SHA256: f.SHA256, Mode: mode}
	}
	return files
}

// rootOf returns the root directory of an archive with a trailing slash, or "".
func rootOf(a manifest.Asset) string {
	root := ""
	for _, p := range Paths(a) {
		first, _, below := strings.Cut(p, "/")
		if !below || root != "" && root != first+"/" {
			return ""
		}
		root = first + "/"
	}
	return root
}

// Paths lists the files of an archive, binaries first.
func Paths(a manifest.Asset) []string {
	var all []string
	for _, b := range a.Binaries {
		all = append(all, b.Path)
	}
	for _, f := range a.Files {
		all = append(all, f.Path)
	}
	return all
}

// reserved lists the directories of an image that can't have files of a release: they
// are symbolic links in most base images, which a directory of a layer would replace,
// or the runtime mounts over them, or they have special permissions.
var reserved = []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sys", "/dev", "/run", "/tmp", "/var/run", "/var/lock", "/var/tmp"}

func checkDest(dest string) error {
	if dest != path.Clean(dest) || !path.IsAbs(dest) || dest == "/" {
		return fmt.Errorf("%w: %q is not the absolute path of a file in the image", ErrSpec, dest)
	}
	for _, dir := range reserved {
		if dest == dir || strings.HasPrefix(dest, dir+"/") {
			return fmt.Errorf("%w: %q is below %q, which is a link in most base images or belongs to the runtime: use another place, such as /usr%s", ErrSpec, dest, dir, dest)
		}
	}
	for element := range strings.SplitSeq(dest, "/") {
		if strings.HasPrefix(element, ".wh.") {
			return fmt.Errorf("%w: %q would delete a file in a layer instead of adding one: rename it", ErrSpec, dest)
		}
	}
	return nil
}
