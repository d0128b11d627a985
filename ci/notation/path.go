package notation

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrUnsafePath reports a path that could escape its directory, or that systems read
// differently.
var ErrUnsafePath = errors.New("unsafe path")

// CleanPath returns a relative, slash-separated path in its shortest form: "./a//b/"
// becomes "a/b".
//
// It refuses an empty path, ".", an absolute path, a ".." anywhere, a drive letter, a
// backslash, a control character, and bytes that are not UTF-8. Its error wraps
// [ErrUnsafePath].
func CleanPath(p string) (string, error) {
	unsafe := func(why string) (string, error) {
		return "", fmt.Errorf("%w %q: %s: use a relative path with forward slashes", ErrUnsafePath, p, why)
	}
	switch {
	case p == "":
		return unsafe("it is empty")
	case !utf8.ValidString(p):
		return unsafe("it is not UTF-8")
	case strings.HasPrefix(p, "/"):
		return unsafe("it is absolute")
	case strings.Contains(p, `\`):
		return unsafe("it has a backslash")
	case strings.ContainsFunc(p, unicode.IsControl):
		return unsafe("it has a control character")
	case len(p) >= 2 && p[1] == ':' && (p[0]|0x20 >= 'a' && p[0]|0x20 <= 'z'):
		return unsafe("it has a drive letter")
	}
	for element := range strings.SplitSeq(p, "/") {
		if element == ".." {
			return unsafe(`it has a ".."`)
		}
	}
	clean := path.Clean(p)
	if clean == "." {
		return unsafe("it is the directory itself")
	}
	return clean, nil
}

var (
	relative = Notation{pattern: regexp.MustCompile(`^[^/\\\x00-\x1f\x7f][^\\\x00-\x1f\x7f]*$`), want: "a relative path with forward slashes"}
	absolute = Notation{pattern: regexp.MustCompile(`^/[^\\\x00-\x1f\x7f]*$`), want: "an absolute path with forward slashes"}
)

// CheckPath returns an error unless p is a path in an archive, in its shortest form.
func CheckPath(p string) error {
	if err := relative.Check(p); err != nil {
		return err
	}
	clean, err := CleanPath(p)
	if err == nil && clean != p {
		err = fmt.Errorf("%q is not in its shortest form, %q", p, clean)
	}
	return err
}

// CheckAbsolute returns an error unless p is a path in an image, in its shortest
// form. A directory may end in a slash.
func CheckAbsolute(p string) error {
	if err := absolute.Check(p); err != nil {
		return err
	}
	if clean := path.Clean(p); p != clean && (p != clean+"/" || clean == "/") {
		return fmt.Errorf("%q is not in its shortest form, %q", p, clean)
	}
	return nil
}
