package reproduce

import (
	"bytes"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// conditions of the tests.
var conditions = Conditions{
	Facts: []Fact{
		{"source directory", "/gantry/src", "/gantry/2/s"}, {"Cargo's home", "/usr/local/cargo", "/opt/2/cargohome"},
		{"user", "root", "gantry-second"}, {"kernel", "6.1", "6.1"}, {"processors", "2", "1"},
	},
	Start: [2]int64{1_796_158_000, 1_830_736_500}, End: [2]int64{1_796_158_060, 1_830_736_560},
	Epoch: 1_743_670_800, // 3 April 2025
}

// piece is a section of a test's program.
type piece struct {
	name string
	data string
	code bool
}

// program makes an ELF program with sections.
func program(pieces ...piece) []byte {
	var names, body bytes.Buffer
	names.WriteByte(0)
	headers := []elf.Section64{{}}
	put := func(name, data string, kind elf.SectionType, flags elf.SectionFlag, address uint64) {
		headers = append(headers, elf.Section64{
			Name: uint32(names.Len()), Type: uint32(kind), Flags: uint64(flags), Addr: address, Off: uint64(64 + body.Len()), Size: uint64(len(data)), Addralign: 1,
		})
		names.WriteString(name + "\x00")
		body.WriteString(data)
	}
	for i, p := range pieces {
		flags := elf.SHF_ALLOC
		if p.code {
			flags |= elf.SHF_EXECINSTR
		}
		put(p.name, p.data, elf.SHT_PROGBITS, flags, uint64(0x1000*(i+1)))
	}
	last := names.String() + ".shstrtab\x00"
	put(".shstrtab", last, elf.SHT_STRTAB, 0, 0)
	var out bytes.Buffer
	header := elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1, Shoff: uint64(64 + body.Len()),
		Ehsize: 64, Shentsize: 64, Shnum: uint16(len(headers)), Shstrndx: uint16(len(headers) - 1),
	}
	_ = binary.Write(&out, binary.LittleEndian, header)
	out.Write(body.Bytes())
	_ = binary.Write(&out, binary.LittleEndian, headers)
	return out.Bytes()
}

// noise is data that differs nowhere.
func noise(n int) string {
	r := rand.New(rand.NewPCG(1, 2))
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(r.Uint32())
	}
	return string(out)
}

// inMemory writes a time as a program has it in memory.
func inMemory(n int64) string {
	return string(binary.LittleEndian.AppendUint64(nil, uint64(n)))
}

func TestCompareNamesCauses(t *testing.T) {
	words := strings.Fields("amber birch cedar dogwood elder fir ginkgo hazel ivy juniper")
	reversed := make([]string, len(words))
	for i, w := range words {
		reversed[len(words)-1-i] = w
	}
	for _, c := range []struct {
		name          string
		first, second string
		cause         Cause
		what          string
	}{
		{"path in Rust", "\x00/gantry/src/app/templates\x00", "\x00/gantry/2/s/app/templates\x00", Path, "the path of the source directory"},
		{"path in C", "\x00/gantry/src/app/stamp.c\x00", "\x00/gantry/2/s/app/stamp.c\x00", Path, "__FILE__"},
		{"path of a crate", "/usr/local/cargo/registry/zstd/lib.h\x00", "/opt/2/cargohome/registry/zstd/lib.h\x00", Path, "the path of Cargo's home, in C"},
		{"date in C", "built Dec  1 2026\x00", "built Jan  6 2028\x00", Clock, "C's __DATE__ (Dec  1 2026, Jan  6 2028)"},
		{"time in C", "at 20:53:44\x00", "at 20:54:07\x00", Clock, "C's __TIME__"},
		{"ISO date", "built on 2026-12-01, with care", "built on 2028-01-06, with care", Clock, "a date (2026-12-01, 2028-01-06)"},
		{"ISO time", "2026-12-01T20:53:44Z", "2026-12-01T20:54:07Z", Clock, "a date and time"},
		{"output of date", "Tue Dec  1 20:53:44 UTC 2026", "Tue Dec  1 20:54:07 UTC 2026", Clock, "a date and time"},
		{"seconds in text", "at 1796158007, or so", "at 1830736511, or so", Clock, "seconds since 1970"},
		{"milliseconds in text", "at 1796158007123", "at 1830736511456", Clock, "seconds since 1970"},
		{"seconds in memory", "\x01\x02" + inMemory(1_796_158_007) + "\x03", "\x01\x02" + inMemory(1_830_736_511) + "\x03", Clock, "seconds since 1970"},
		{"user", "by root@", "by gantry-second@", Word, "the user (root, gantry-second)"},
		{"processors", "built with 2 jobs", "built with 1 jobs", Word, "the processors (2, 1)"},
		{"another number", "in room 12, or so", "in room 11, or so", Unknown, ""},
		{"order", strings.Join(words, "\n"), strings.Join(reversed, "\n"), Order, "another order"},
		{"UUID", "id 7f1c5a3e-93b1-4a5c-8a2d-1f0e9d8c7b6a.", "id 0d9b2f84-5c6e-4f1a-b7a8-6e5d4c3b2a19.", Random, "a UUID"},
		{"random number", "key 9f86d081884c7d659a2feaa0c55ad015.", "key 5e884898da28047151d0e56f8dc62927.", Random, "a random number"},
		{"something else", "the colour is blue, of course", "the colour is grey, of course", Unknown, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			around := noise(5000)
			first := program(piece{".text", around, true}, piece{".rodata", around + c.first + around, false})
			second := program(piece{".text", around, true}, piece{".rodata", around + c.second + around, false})
			found := conditions.Compare(first, second)
			require.NotEmpty(t, found)
			assert.Equal(t, ".rodata", found[0].Section)
			assert.Equal(t, c.cause, found[0].Cause, "%+v", found)
			assert.Contains(t, found[0].What, c.what)
			at := bytes.Index(first, []byte(c.first))
			assert.InDelta(t, at, found[0].Offset, float64(len(c.first)))
			assert.Equal(t, c.cause == Unknown, found[0].Fix == "")
			// What differs in a file without sections has the same cause.
			found = conditions.Compare([]byte(c.first), []byte(c.second))
			require.NotEmpty(t, found)
			if c.cause != Unknown {
				assert.Equal(t, c.cause, found[0].Cause, "%+v", found)
			}
		})
	}
}

func TestCompareSame(t *testing.T) {
	p := program(piece{".rodata", "Dec  1 2026 /gantry/src", false})
	assert.Empty(t, conditions.Compare(p, bytes.Clone(p)))
}

// One more byte anywhere is a difference, whatever the file is.
func TestCompareReportsEveryDifference(t *testing.T) {
	p := program(piece{".text", noise(300), true}, piece{".rodata", "hello", false})
	for i := range p {
		other := bytes.Clone(p)
		other[i] ^= 0x55
		assert.NotEmpty(t, conditions.Compare(p, other), "byte %d", i)
	}
	for n := range len(p) {
		assert.NotEmpty(t, conditions.Compare(p, p[:n]), "%d bytes", n)
	}
}

// What follows from a cause comes after it.
func TestCompareTellsConsequences(t *testing.T) {
	first := program(piece{".note.gnu.build-id", "\x11\x22\x33\x44", false}, piece{".text", "call 1", true}, piece{".rodata", "Dec  1 2026", false})
	second := program(piece{".note.gnu.build-id", "\x55\x66\x77\x88", false}, piece{".text", "call 2", true}, piece{".rodata", "Jan  6 2028", false})
	found := conditions.Compare(first, second)
	require.Len(t, found, 3)
	assert.Equal(t, Clock, found[0].Cause)
	assert.Equal(t, Follows, found[1].Cause)
	assert.Equal(t, Follows, found[2].Cause)
	second = program(piece{".note.gnu.build-id", "\x55\x66\x77\x88", false}, piece{".text", "call 2", true}, piece{".rodata", "Dec  1 2026", false})
	found = conditions.Compare(first, second)
	require.Len(t, found, 2)
	assert.Equal(t, Unknown, found[0].Cause, "code that differs alone has an unknown cause")
	assert.Equal(t, ".text", found[0].Section)
	found = conditions.Compare(program(piece{".note.gnu.build-id", "\x11\x22", false}), program(piece{".note.gnu.build-id", "\x33\x44", false}))
	require.Len(t, found, 1)
	assert.Equal(t, Unknown, found[0].Cause, "an identifier that differs alone")
}

// Two files that have nothing in common are compared fast, and described briefly.
func TestCompareIsBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	files := [2][]byte{}
	for i := range files {
		files[i] = make([]byte, 4<<20+i)
		for k := range files[i] {
			files[i][k] = byte(r.Uint32())
		}
	}
	found := conditions.Compare(files[0], files[1])
	assert.NotEmpty(t, found)
	assert.LessOrEqual(t, len(found), maxFindings)
	same := bytes.Clone(files[0])
	for i := 0; i < len(same); i += 64 {
		same[i]++
	}
	found = conditions.Compare(files[0], same)
	assert.NotEmpty(t, found)
	assert.LessOrEqual(t, len(found), maxFindings)
}

// What moved far is found as order, too.
func TestCompareFindsDistantOrder(t *testing.T) {
	one, two := "the first of some names\x00", "the other of the names\x00\x00"
	between := noise(1000)
	found := conditions.Compare([]byte(one+between+two), []byte(two+between+one))
	require.NotEmpty(t, found)
	for _, f := range found {
		assert.Equal(t, Order, f.Cause)
	}
}

// A list in another order is that whatever the order is: neighbours that stayed together
// divide it, and its parts can hold a number that the builds also differ in.
func TestCompareFindsEveryOrder(t *testing.T) {
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 1))
		list := func() string {
			var b strings.Builder
			for _, i := range r.Perm(60) {
				fmt.Fprintf(&b, "%q, ", fmt.Sprintf("harbour number %d", i))
			}
			return b.String()
		}
		found := conditions.Compare([]byte(list()), []byte(list()))
		require.NotEmpty(t, found)
		for _, f := range found {
			require.Equal(t, Order, f.Cause, "seed %d: %+v", seed, f)
		}
	}
}

// What moved is order also where another difference of the builds is in the same section.
func TestCompareFindsOrderBesideAWord(t *testing.T) {
	one, two := "the first of some names\x00", "the other of the names\x00\x00"
	between := noise(1000)
	found := conditions.Compare([]byte("by root@\x00"+between+one+between+two), []byte("by gantry-second@\x00"+between+two+between+one))
	require.Len(t, found, 2)
	assert.Equal(t, Word, found[0].Cause)
	assert.Equal(t, Order, found[1].Cause)
}

func TestNotes(t *testing.T) {
	notes := conditions.Notes(program(piece{".rodata", "on Apr  3 2025 it was", false}))
	require.Len(t, notes, 1)
	assert.Contains(t, notes[0], `section .rodata has the commit's date as C's __DATE__ writes it ("Apr  3 2025")`)
	assert.Empty(t, conditions.Notes(program(piece{".rodata", "on Apr  4 2025 it was", false})))
	none := conditions
	none.Epoch = 0
	assert.Empty(t, none.Notes(program(piece{".rodata", "on Apr  3 2025 it was", false})))
}

func TestReadConditions(t *testing.T) {
	c, err := ReadConditions("user\troot\nkernel\t6.1\nstart\t100\nend\t120\n", "user\tsecond\nkernel\t6.1\nstart\t34578531\nend\t34578551\n", 7)
	require.NoError(t, err)
	assert.Equal(t, Conditions{Facts: []Fact{{"user", "root", "second"}, {"kernel", "6.1", "6.1"}}, Start: [2]int64{100, 34578531}, End: [2]int64{120, 34578551}, Epoch: 7}, c)
	assert.True(t, c.ClockVaried())
	assert.Equal(t, `  varied  first build              second build
  user    root                     second
  clock   1970-01-01 00:01:40 UTC  1971-02-05 05:08:51 UTC
  cache   empty                    empty
  not varied: kernel (6.1)
`, c.String())
	_, err = ReadConditions("start\t1\nend\tsoon\n", "start\t1\nend\t2\n", 0)
	assert.EqualError(t, err, `build 1 recorded no end: "soon"`)
	c, err = ReadConditions("start\t1\nend\t2\n", "start\t5\nend\t6\n", 0)
	require.NoError(t, err)
	assert.Contains(t, c.String(), "not varied: date")
}

func TestReport(t *testing.T) {
	same := program(piece{".rodata", "nothing", false})
	first := program(piece{".rodata", "at 1796158007 sharp", false})
	second := program(piece{".rodata", "at 1830736511 sharp", false})
	r := Report{Tag: "v1.0.0", Conditions: conditions, Targets: []Target{{"x86_64-unknown-linux-gnu", []Result{conditions.Check("one", same, same)}}}}
	require.NoError(t, r.Err())
	assert.Contains(t, r.String(), "two builds of v1.0.0 have the same bytes\n\nx86_64-unknown-linux-gnu\n  one: same, SHA-256 "+r.Targets[0].Files[0].Sum+"\n")

	r.Targets[0].Files = append(r.Targets[0].Files, conditions.Check("two", first, second))
	r.Scripts = []Script{
		{"./x86_64-unknown-linux-gnu/dist/build/two-0123456789abcdef/output", []byte("cargo:rustc-link-search=/gantry/src\ncargo:rustc-env=BUILT=1796158007\n"), []byte("cargo:rustc-link-search=/gantry/2/s\ncargo:rustc-env=BUILT=1830736511\n")},
		{"./x86_64-unknown-linux-gnu/dist/build/three-0123456789abcdef/output", []byte("cargo:rustc-link-search=/gantry/src\n"), []byte("cargo:rustc-link-search=/gantry/2/s\n")},
		{"./release/build/four-0123456789abcdef/out/gen.rs", []byte("a = 1;\n/gantry/src/\n"), []byte("a = 1;\n/gantry/2/s/\n")},
	}
	err := r.Err()
	require.Error(t, err)
	for _, says := range []string{
		`1 of 2 files differ between two builds of "v1.0.0":`, "  one: same, SHA-256 ", "  two: differs\n    section .rodata, offset 0x",
		": clock: the time of the build: seconds since 1970\n      first:  \"at 1796158007 sharp\"\n      second: \"at 1830736511 sharp\"\n      fix: take the time from the variable SOURCE_DATE_EPOCH",
		"build scripts that did not write the same twice\n  package two: the output of its build script\n    line 2: clock: ", "varied            first build",
	} {
		assert.Contains(t, err.Error(), says)
	}
	assert.NotContains(t, err.Error(), "package three", "a path in the output means nothing")
	assert.NotContains(t, err.Error(), "package four", "no program has a path")
}

func TestDiffering(t *testing.T) {
	line := func(sum, name string) string { return strings.Repeat(sum, 64) + "  " + name + "\n" }
	first := line("1", "./same") + line("2", "./a.o") + line("3", "./b.rs") + line("4", "./gone")
	second := line("1", "./same") + line("5", "./a.o") + line("6", "./b.rs") + line("7", "./new")
	assert.Equal(t, []string{"b.rs", "a.o"}, Differing(first, second))
}

func TestSectionsOfOtherFormats(t *testing.T) {
	wasm := "\x00asm\x01\x00\x00\x00" + "\x0b\x05hello" + "\x00\x03abc"
	parts := sections([]byte(wasm))
	require.Len(t, parts, 2)
	assert.Equal(t, "data", parts[0].name)
	assert.Equal(t, "hello", string(parts[0].data))
	assert.Equal(t, "custom", parts[1].name)
	for _, start := range []string{elf.ELFMAG, "MZ", "\xcf\xfa\xed\xfe", "\x00asm"} {
		for n := range 100 {
			damaged := start + noise(n)
			parts := sections([]byte(damaged))
			require.NotEmpty(t, parts, fmt.Sprint(n))
		}
	}
}

// windowsProgram makes a program for Windows whose linker wrote a time into its header.
func windowsProgram(seconds int64, data string) []byte {
	var out bytes.Buffer
	out.WriteString("MZ" + strings.Repeat("\x00", 0x3a))
	_ = binary.Write(&out, binary.LittleEndian, uint32(0x40))
	out.WriteString("PE\x00\x00")
	_ = binary.Write(&out, binary.LittleEndian, pe.FileHeader{Machine: pe.IMAGE_FILE_MACHINE_AMD64, NumberOfSections: 1, TimeDateStamp: uint32(seconds)})
	_ = binary.Write(&out, binary.LittleEndian, pe.SectionHeader32{Name: [8]byte{'.', 'r', 'd', 'a', 't', 'a'}, SizeOfRawData: uint32(len(data)), PointerToRawData: 128})
	out.WriteString(strings.Repeat("\x00", 128-out.Len()) + data)
	return out.Bytes()
}

func TestCompareWindows(t *testing.T) {
	first := windowsProgram(1_796_158_007, "at /gantry/src/app.rs")
	found := conditions.Compare(first, windowsProgram(1_830_736_511, "at /gantry/src/app.rs"))
	require.Len(t, found, 1)
	assert.Equal(t, "header", found[0].Section)
	assert.Equal(t, Clock, found[0].Cause)
	found = conditions.Compare(first, windowsProgram(1_796_158_007, "at /gantry/2/s/app.rs"))
	require.Len(t, found, 1)
	assert.Equal(t, ".rdata", found[0].Section)
	assert.Equal(t, Path, found[0].Cause)
}

// macProgram makes a program for macOS with one section.
func macProgram(data string) []byte {
	var out bytes.Buffer
	size := uint32(binary.Size(macho.Segment64{}) + binary.Size(macho.Section64{}))
	_ = binary.Write(&out, binary.LittleEndian, macho.FileHeader{Magic: macho.Magic64, Cpu: macho.CpuArm64, Type: macho.TypeExec, Ncmd: 1, Cmdsz: size})
	out.WriteString("\x00\x00\x00\x00")
	_ = binary.Write(&out, binary.LittleEndian, macho.Segment64{Cmd: macho.LoadCmdSegment64, Len: size, Name: [16]byte{'_', '_', 'T', 'E', 'X', 'T'}, Filesz: uint64(len(data)), Nsect: 1})
	_ = binary.Write(&out, binary.LittleEndian, macho.Section64{
		Name: [16]byte{'_', '_', 'c', 'o', 'n', 's', 't'}, Seg: [16]byte{'_', '_', 'T', 'E', 'X', 'T'}, Size: uint64(len(data)), Offset: 256,
	})
	out.WriteString(strings.Repeat("\x00", 256-out.Len()) + data)
	return out.Bytes()
}

func TestCompareMac(t *testing.T) {
	found := conditions.Compare(macProgram("built 20:53:44, then"), macProgram("built 20:54:07, then"))
	require.Len(t, found, 1)
	assert.Equal(t, "__TEXT,__const", found[0].Section)
	assert.Equal(t, Clock, found[0].Cause)
}

func FuzzCompare(f *testing.F) {
	f.Add([]byte("a"), []byte("b"))
	f.Add(program(piece{".text", "x", true}), program(piece{".text", "y", true}))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if found := conditions.Compare(a, b); (len(found) == 0) != bytes.Equal(a, b) {
			t.Errorf("%d findings for %q and %q", len(found), a, b)
		}
		_ = conditions.Notes(a)
	})
}
