package binary

import (
	"bytes"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Mention reports how the data of a program mention a version.
type Mention struct {
	// Found is true if they contain it; in a file with several architectures, those of
	// each.
	Found bool
	// Nearest is the version in them that is closest to it, if it isn't found; or empty.
	Nearest string
}

// FindVersion looks for a version, "1.2.3" or "1.2.3-rc.1", in the initialized data of
// a program that can't run here. Rust keeps the version that a program prints there,
// without an end mark, so other text may follow directly. Versions in the paths of
// crates, "memchr-2.7.6/src/lib.rs", are those of dependencies and don't count.
func FindVersion(r io.ReaderAt, size int64, version string) (Mention, error) {
	parts, err := readData(io.NewSectionReader(r, 0, size))
	if err != nil {
		return Mention{}, fmt.Errorf("search a binary for version %q: %w", version, err)
	}
	for _, part := range parts {
		if !mentions(part, version) {
			return Mention{Nearest: nearest(part, version)}, nil
		}
	}
	return Mention{Found: true}, nil
}

// readData returns the initialized data of each program in a file.
func readData(file *io.SectionReader) (all [][]byte, err error) {
	defer recovered(&err)
	format, err := formatOf(file)
	if err != nil {
		return nil, err
	}
	var data []byte
	switch format {
	case ELF:
		data, err = elfData(file)
	case PE:
		data, err = peData(file)
	case MachO:
		data, err = machoData(file)
	case WASM:
		data, err = wasmData(file)
	case fat:
		return fatData(file)
	}
	return [][]byte{data}, err
}

// boundary separates sections, so that no version spans two.
const boundary = "\x00"

func elfData(r io.ReaderAt) ([]byte, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, damaged(err)
	}
	var sections []section
	for _, s := range f.Sections {
		if s.Type == elf.SHT_PROGBITS && s.Flags&elf.SHF_ALLOC != 0 && s.Flags&elf.SHF_EXECINSTR == 0 {
			sections = append(sections, s)
		}
	}
	return join(sections)
}

func peData(r io.ReaderAt) ([]byte, error) {
	f, err := pe.NewFile(r)
	if err != nil {
		return nil, damaged(err)
	}
	var sections []section
	for _, s := range f.Sections {
		if s.Characteristics&pe.IMAGE_SCN_CNT_INITIALIZED_DATA != 0 {
			sections = append(sections, s)
		}
	}
	return join(sections)
}

func fatData(r io.ReaderAt) ([][]byte, error) {
	f, err := macho.NewFatFile(r)
	if err != nil {
		return nil, damaged(err)
	}
	var all [][]byte
	for _, arch := range f.Arches {
		data, err := machoSections(arch.File)
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func machoData(r io.ReaderAt) ([]byte, error) {
	f, err := macho.NewFile(r)
	if err != nil {
		return nil, damaged(err)
	}
	return machoSections(f)
}

func machoSections(f *macho.File) ([]byte, error) {
	const (
		instructions = 0x80000400 // S_ATTR_PURE_INSTRUCTIONS, S_ATTR_SOME_INSTRUCTIONS
		kind         = 0xff
		zeroFilled   = 1  // S_ZEROFILL, which the file doesn't contain
		zeroThreads  = 18 // S_THREAD_LOCAL_ZEROFILL
	)
	var sections []section
	for _, s := range f.Sections {
		if s.Flags&instructions == 0 && s.Flags&kind != zeroFilled && s.Flags&kind != zeroThreads && s.Seg != "__DWARF" {
			sections = append(sections, s)
		}
	}
	return join(sections)
}

// section of a file of any format.
type section interface{ Data() ([]byte, error) }

func join(sections []section) ([]byte, error) {
	var all [][]byte
	for _, s := range sections {
		data, err := s.Data()
		if err != nil {
			return nil, damaged(err)
		}
		all = append(all, data)
	}
	return bytes.Join(all, []byte(boundary)), nil
}

var (
	// notBefore ends text after which the digits of a version would be those of a longer
	// one. The digits of a name, "utf8", end the text before it.
	notBefore = regexp.MustCompile(`(?:(?:^|[^0-9A-Za-z_])[vV]?[0-9]+|[0-9]\.|[0-9]-)$`)
	// notAfter starts text that makes a version a longer one.
	notAfter = regexp.MustCompile(`^(?:[0-9]|\.[0-9]|-[0-9]|-[A-Za-z]+\.?[0-9]|-(?:alpha|beta|dev|edge|nightly|pre|rc|SNAPSHOT)\b)`)
	// anyVersion is a version as Cargo writes them; the prerelease has a known form,
	// since other text may follow.
	anyVersion = regexp.MustCompile(`[0-9]{1,5}\.[0-9]{1,5}\.[0-9]{1,5}(?:-(?:alpha|beta|dev|edge|nightly|pre|rc)(?:\.?[0-9]{1,5})?)?`)
)

// lookAround is how much text before and after a version counts.
const lookAround = 24

// mentions reports whether data contain a version that is not part of another one.
func mentions(data []byte, version string) bool {
	for from := 0; ; from++ {
		i := bytes.Index(data[from:], []byte(version))
		if i < 0 {
			return false
		}
		from += i
		if stands(data, from, from+len(version)) {
			return true
		}
	}
}

// stands reports whether data[start:end] is a whole version, and not of a crate's path.
func stands(data []byte, start, end int) bool {
	before, after := data[max(0, start-lookAround):start], data[end:min(len(data), end+lookAround)]
	path := bytes.HasSuffix(before, []byte("-")) && (bytes.HasPrefix(after, []byte("/")) || bytes.HasPrefix(after, []byte(`\`)))
	return !path && !notBefore.Match(before) && !notAfter.Match(after)
}

// nearest returns the whole version in data that differs least from another, by its
// first number that differs.
func nearest(data []byte, version string) string {
	best, least := "", [3]int{}
	want := numbers(version)
	for _, at := range anyVersion.FindAllIndex(data, -1) {
		if !stands(data, at[0], at[1]) {
			continue
		}
		found := string(data[at[0]:at[1]])
		have, distance := numbers(found), [3]int{}
		for i := range want {
			distance[i] = max(want[i]-have[i], have[i]-want[i])
		}
		if best == "" || slices.Compare(distance[:], least[:]) < 0 {
			best, least = found, distance
		}
	}
	return best
}

// numbers returns the core of a version.
func numbers(version string) (core [3]int) {
	text, _, _ := strings.Cut(version, "-")
	for i, part := range strings.SplitN(text, ".", len(core)) {
		core[i], _ = strconv.Atoi(part) // only digits, as the pattern has it
	}
	return core
}
