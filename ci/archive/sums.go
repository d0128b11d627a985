package archive

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"dagger/gantry/ci/notation"
)

// Sums has the SHA-256 digests of files by name, in lower-case hexadecimal digits.
// `sha256sum -c` checks its text.
type Sums map[string]string

// Add sets the digest of a file, in hexadecimal. It refuses names that a checksum
// file can't have, other notations of digests, and a second digest of a name.
func (s Sums) Add(name, sha256 string) error {
	if err := checkSum(name, sha256); err != nil {
		return fmt.Errorf("add a checksum: %w", err)
	}
	if _, found := s[name]; found {
		return fmt.Errorf("add a checksum: %w %q", ErrDuplicate, name)
	}
	s[name] = sha256
	return nil
}

// Format returns the checksum file: for each name, in order, a line with the digest,
// two spaces and the name.
func (s Sums) Format() ([]byte, error) {
	var text bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(s)) {
		if err := checkSum(name, s[name]); err != nil {
			return nil, fmt.Errorf("format checksums: %w", err)
		}
		fmt.Fprintf(&text, "%s  %s\n", s[name], name)
	}
	return text.Bytes(), nil
}

// ParseSums reads a checksum file. It accepts only the bytes that [Sums.Format]
// writes. Errors name the line.
func ParseSums(text []byte) (Sums, error) {
	sums := Sums{}
	last := ""
	for n := 1; len(text) > 0; n++ {
		line, rest, found := bytes.Cut(text, []byte("\n"))
		if !found {
			return nil, fmt.Errorf("parse checksums: line %d: no line feed at its end: the file may be cut off", n)
		}
		text = rest
		digest, name, found := strings.Cut(string(line), "  ")
		if !found {
			return nil, fmt.Errorf("parse checksums: line %d: %q is not a digest, two spaces and a name, as `sha256sum` writes them", n, truncate(line))
		}
		if err := checkSum(name, digest); err != nil {
			return nil, fmt.Errorf("parse checksums: line %d: %w", n, err)
		}
		if _, found := sums[name]; found {
			return nil, fmt.Errorf("parse checksums: line %d: %w %q", n, ErrDuplicate, name)
		}
		if name < last {
			return nil, fmt.Errorf("parse checksums: line %d: %q comes after %q: sort the lines by name", n, name, last)
		}
		sums[name], last = digest, name
	}
	return sums, nil
}

// checkSum accepts the names of files: sha256sum escapes backslashes and line feeds,
// and would follow a path.
func checkSum(name, digest string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("%w %q: it is not the name of a file", notation.ErrUnsafePath, name)
	case strings.ContainsAny(name, `/\`):
		return fmt.Errorf("%w %q: it has a slash or a backslash", notation.ErrUnsafePath, name)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("%w %q: it has a control character or is not UTF-8", notation.ErrUnsafePath, name)
	case strings.HasPrefix(name, " ") || strings.HasPrefix(name, "*"):
		return fmt.Errorf("%w %q: it starts with a space or a \"*\", which checksum files use", notation.ErrUnsafePath, name)
	}
	if raw, err := hex.DecodeString(digest); err != nil || len(raw) != 32 || digest != strings.ToLower(digest) {
		return fmt.Errorf("digest %q of %q is not 64 lower-case hexadecimal digits", truncate([]byte(digest)), name)
	}
	return nil
}

func truncate(b []byte) []byte { return b[:min(len(b), 80)] }
