package imagespec

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/nearest"
)

// DefaultUser of an image: nobody in particular, as in distroless.
const DefaultUser = "65532:65532"

// BinDir is the folder of an image that binaries are put into.
const BinDir = "/usr/local/bin"

// Item is one file of an archive on its way into an image.
type Item struct {
	// Dest is its absolute path in the image.
	Dest string
	// SHA256 of the file, in hexadecimal.
	SHA256 string
	// Mode is its permission bits.
	Mode int64
}

// Items returns, by path in the archive, which files the image takes and where
// they go: the binaries, and what include names.
func Items(a manifest.Asset, include map[string]string) (map[string][]Item, error) {
	found := map[string][]Item{}
	taken := map[string]string{}
	var errs []error
	add := func(from string, i Item) {
		if err := checkDest(i.Dest); err != nil {
			errs = append(errs, err)
			return
		}
		if other, ok := taken[i.Dest]; ok {
			errs = append(errs, fmt.Errorf("%w: both %q and %q of archive %q go to %q: give one another place in include of the image configuration", ErrSpec, other, from, a.Name, i.Dest))
			return
		}
		taken[i.Dest] = from
		found[from] = append(found[from], i)
	}
	for _, b := range a.Binaries {
		add(b.Path, Item{path.Join(BinDir, b.Name), b.SHA256, 0o755})
	}
	root := rootOf(a)
	var names []string
	files := map[string]Item{}
	for _, b := range a.Binaries {
		files[b.Path] = Item{SHA256: b.SHA256, Mode: 0o755}
		names = append(names, b.Path)
	}
	for _, f := range a.Files {
		mode := int64(0o644)
		if f.Mode == "0755" {
			mode = 0o755
		}
		files[f.Path] = Item{SHA256: f.SHA256, Mode: mode}
		names = append(names, f.Path)
	}
	slices.Sort(names)
	for _, from := range sortedKeys(include) {
		to, matched := include[from], false
		for _, name := range names {
			dest := to
			switch below := strings.TrimPrefix(name, root); {
			case below == from:
				if strings.HasSuffix(to, "/") {
					dest = path.Join(to, path.Base(from))
				}
			case strings.HasPrefix(below, from+"/"):
				dest = path.Join(to, strings.TrimPrefix(below, from+"/"))
			default:
				continue
			}
			matched = true
			i := files[name]
			i.Dest = dest
			add(name, i)
		}
		if !matched {
			var known []string
			for _, name := range names {
				known = append(known, strings.TrimPrefix(name, root))
			}
			errs = append(errs, fmt.Errorf("%w: include %q is not in archive %q%s: add it to the include of [package.metadata.gantry], which puts files into the archives", ErrSpec, from, a.Name, nearest.Hint(from, known)))
		}
	}
	// A file can't be a folder too.
	for _, dest := range sortedKeys(taken) {
		from := taken[dest]
		for dir := path.Dir(dest); dir != "/"; dir = path.Dir(dir) {
			if other, ok := taken[dir]; ok {
				errs = append(errs, fmt.Errorf("%w: %q goes to %q, below the file that %q becomes: give one another place in include of the image configuration", ErrSpec, from, dest, other))
			}
		}
	}
	return found, errors.Join(errs...)
}

// rootOf is the folder that everything in an archive is in, with its slash, or
// empty.
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

// reserved are places in an image that files can't be put into: symbolic links
// in most base images, which a folder of a layer would replace, or folders that
// the runtime mounts over or that have permissions of their own.
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
