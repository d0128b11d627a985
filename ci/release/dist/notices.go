package dist

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"dagger/gantry/ci/archive"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/release/cargo"
	"dagger/gantry/ci/release/plan"
)

var (
	// licenseDir matches the directory of license texts in a crate (https://reuse.software).
	licenseDir = regexp.MustCompile(`^(?i)licen[sc]es?$`)
	// notText matches files that only have the name of a license text.
	notText = regexp.MustCompile(`^(?i).*\.(rs|toml|lock|json|ya?ml|py|sh|hbs|tera|tmpl)$`)
)

// licenseTexts finds the license files that the build kept, by the directories of their
// crates (see ci/release/toolchain/bill.sh). Paths are those of the build.
type licenseTexts struct {
	root string
	// byCrate has the files by the directory of the crate that they may belong to: the one
	// that they are in and, for those in a directory of license texts, the one above.
	byCrate map[string][]string
	// further has the files of crates that keep them elsewhere.
	further map[string][]string
}

func readLicenseTexts(dir string) (*licenseTexts, error) {
	t := &licenseTexts{root: filepath.Join(dir, "texts"), byCrate: map[string][]string{}, further: map[string][]string{}}
	err := filepath.WalkDir(t.root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(t.root, file)
		t.add("/" + filepath.ToSlash(rel))
		return err
	})
	if err != nil {
		return nil, err
	}
	list, err := os.ReadFile(filepath.Join(dir, "further"))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(list)) {
		crate, file, _ := strings.Cut(strings.TrimRight(line, "\n"), "\t")
		t.further[crate] = append(t.further[crate], path.Clean(file))
	}
	return t, nil
}

// add adds a license file.
func (t *licenseTexts) add(file string) {
	if notText.MatchString(file) {
		return
	}
	parent := path.Dir(file)
	t.byCrate[parent] = append(t.byCrate[parent], file)
	if licenseDir.MatchString(path.Base(parent)) {
		crate := path.Dir(parent)
		t.byCrate[crate] = append(t.byCrate[crate], file)
	}
}

// licenseText is the text of a license file.
type licenseText struct{ name, text string }

// of returns the license texts of a crate, sorted by their names.
func (t *licenseTexts) of(c cargo.Crate) ([]licenseText, error) {
	dir := path.Dir(c.Manifest)
	files := slices.Clone(t.further[dir])
	for _, f := range t.byCrate[dir] {
		if !slices.Contains(files, f) {
			files = append(files, f)
		}
	}
	slices.SortFunc(files, func(a, b string) int {
		return cmp.Or(strings.Compare(path.Base(a), path.Base(b)), strings.Compare(a, b))
	})
	var texts []licenseText
	for _, f := range files {
		content, err := os.ReadFile(filepath.Join(t.root, filepath.FromSlash(f)))
		if err != nil {
			return nil, err
		}
		if text := plainText(content); text != "" {
			texts = append(texts, licenseText{path.Base(f), text})
		}
	}
	return slices.Compact(texts), nil
}

// plainText returns a text with the line ends of Unix and without space at any end, so
// that copies of one text are equal.
func plainText(content []byte) string {
	var b strings.Builder
	for line := range strings.Lines(strings.ToValidUTF8(string(content), "\uFFFD")) {
		b.WriteString(strings.TrimRight(line, " \t\r\n\f") + "\n")
	}
	return strings.Trim(strings.TrimPrefix(b.String(), "\uFEFF"), "\n")
}

const noticesRule = "================================================================================\n"

// writeNotices lists the crates of others that are in the binaries of a target, with
// their licenses. own are the manifests of the project's packages.
func writeNotices(w io.Writer, m *manifest.Manifest, triple string, crates []cargo.Crate, own []string, texts *licenseTexts) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Third-party licenses of %s %s for %s\n\n", m.Component, m.Version, triple)
	users := map[string][]string{} // of each text
	names := map[string]string{}
	var order []string
	var list bytes.Buffer
	for _, c := range crates {
		if !c.Linked || slices.Contains(own, c.Manifest) {
			continue
		}
		fmt.Fprintf(&list, "%s %s\n  license: %s\n", c.Name, c.Version, cmp.Or(c.License, "not stated"))
		if c.Repository != "" {
			fmt.Fprintf(&list, "  source: %s\n", c.Repository)
		}
		found, err := texts.of(c)
		if err != nil {
			return fmt.Errorf("read the licenses of crate %s %s: %w", c.Name, c.Version, err)
		}
		if len(found) == 0 {
			list.WriteString("  It ships no license text.\n")
		}
		for _, t := range found {
			if users[t.text] == nil {
				order, names[t.text] = append(order, t.text), t.name
			}
			users[t.text] = append(users[t.text], c.Name+" "+c.Version)
		}
	}
	if list.Len() == 0 {
		b.WriteString("It contains no crates of others.\n")
	} else {
		b.WriteString("It contains these crates of others:\n\n")
		_, _ = list.WriteTo(&b)
	}
	for _, text := range order {
		fmt.Fprintf(&b, "\n%s%s of %s\n%s\n%s\n", noticesRule, names[text], strings.Join(slices.Compact(users[text]), ", "), noticesRule, text)
	}
	_, err := b.WriteTo(w)
	return err
}

// noticesEntry returns the entry of the notices in the archive of a target.
func noticesEntry(m *manifest.Manifest, t Target, own []string) (archive.Entry, error) {
	fail := func(err error) (archive.Entry, error) {
		return archive.Entry{}, fmt.Errorf("make %s of %q: %w", plan.NoticesName, t.Archive, err)
	}
	texts, err := readLicenseTexts(t.CratesDir)
	if err != nil {
		return fail(err)
	}
	var b bytes.Buffer
	if err := writeNotices(&b, m, t.Want.Target, t.crates, own, texts); err != nil {
		return fail(err)
	}
	return archive.Entry{
		Path: plan.NoticesName, Mode: 0o644, Size: int64(b.Len()),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil },
	}, nil
}
