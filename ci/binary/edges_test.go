package binary

import (
	"bytes"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func inspectBytes(t *testing.T, data []byte) Facts {
	t.Helper()
	facts, err := Inspect(bytes.NewReader(data), int64(len(data)))
	require.NoError(t, err)
	return facts
}

// A weak version is no requirement, a version without a number is none, and
// packed relocations need the loader of 2.36.
func TestGlibcFloorOfRealPrograms(t *testing.T) {
	data, err := os.ReadFile(gcc(t, "#include <sys/random.h>\nint _start(void) { return getrandom(0, 0, 0); }", "-nostartfiles"))
	require.NoError(t, err)
	require.Equal(t, "2.25", inspectBytes(t, data).GlibcFloor)
	f, err := elf.NewFile(bytes.NewReader(data))
	require.NoError(t, err)
	names, err := f.SectionByType(elf.SHT_GNU_VERNEED).Data()
	require.NoError(t, err)
	table := bytes.Index(data, names)
	at := table + int(f.ByteOrder.Uint32(names[8:])) // the first entry
	f.ByteOrder.PutUint16(data[at+4:], uint16(elf.VER_FLG_WEAK))
	assert.Empty(t, inspectBytes(t, data).GlibcFloor)
	f.ByteOrder.PutUint16(data[table:], 9)
	_, err = Inspect(bytes.NewReader(data), int64(len(data)))
	assert.ErrorIs(t, err, ErrFormat, "a table of another version")

	packed := gcc(t, "#include <unistd.h>\nint x; int *p = &x;\nint _start(void) { return *p + getppid(); }",
		"-nostartfiles", "-fPIE", "-pie", "-Wl,-z,pack-relative-relocs")
	assert.Equal(t, "2.36", inspect(t, packed).GlibcFloor)
}

// What tells a static program at a movable address from a library.
func TestStaticPIE(t *testing.T) {
	data, err := os.ReadFile(gcc(t, "int main(void) { return 0; }", "-static-pie"))
	require.NoError(t, err)
	require.Equal(t, uint64(8), uint64(data[4])*4, "a 64-bit file")
	f, err := elf.NewFile(bytes.NewReader(data))
	require.NoError(t, err)
	dynamic := f.SectionByType(elf.SHT_DYNAMIC)
	without := func(tags ...elf.DynTag) []byte {
		changed := bytes.Clone(data)
		for at := dynamic.Offset; at < dynamic.Offset+dynamic.Size; at += 16 {
			if tag := elf.DynTag(f.ByteOrder.Uint64(changed[at:])); slices.Contains(tags, tag) {
				f.ByteOrder.PutUint64(changed[at:], 0x6ffffef0) // one that nobody reads
			}
		}
		return changed
	}
	assert.True(t, inspectBytes(t, without(elf.DT_DEBUG)).Executable, "the flag is enough")
	assert.True(t, inspectBytes(t, without(elf.DT_FLAGS_1)).Executable, "the debugger's entry is enough")
	assert.False(t, inspectBytes(t, without(elf.DT_DEBUG, elf.DT_FLAGS_1)).Executable)
	changed := bytes.Clone(data)
	f.ByteOrder.PutUint64(changed[24:], 0)
	assert.False(t, inspectBytes(t, changed).Executable, "without an entry point")
}

// elf64 makes a file of a header and program headers, each with its content.
func elf64(kind elf.Type, entry uint64, programs map[elf.ProgType][]byte) []byte {
	le := binary.LittleEndian
	out := header(elf.EM_X86_64, elf.ELFCLASS64, elf.ELFDATA2LSB)
	le.PutUint16(out[16:], uint16(kind))
	le.PutUint64(out[24:], entry)
	le.PutUint64(out[32:], 64)
	le.PutUint16(out[52:], 64)
	le.PutUint16(out[54:], 56)
	le.PutUint16(out[56:], uint16(len(programs)))
	at := uint64(64 + 56*len(programs))
	var contents []byte
	for kind, content := range programs {
		out, _ = binary.Append(out, le, elf.Prog64{Type: uint32(kind), Off: at + uint64(len(contents)), Filesz: uint64(len(content)), Memsz: uint64(len(content))})
		contents = append(contents, content...)
	}
	return append(out, contents...)
}

func TestLoadersOfELF(t *testing.T) {
	loader := func(name string) map[elf.ProgType][]byte { return map[elf.ProgType][]byte{elf.PT_INTERP: []byte(name)} }
	facts := inspectBytes(t, elf64(elf.ET_DYN, 1, loader("/lib64/ld-linux-x86-64.so.2\x00rest")))
	assert.Equal(t, "/lib64/ld-linux-x86-64.so.2", facts.Interpreter)
	assert.Equal(t, Dynamic, facts.Linkage, "also without a library")
	assert.True(t, facts.Executable)
	assert.False(t, inspectBytes(t, elf64(elf.ET_DYN, 0, loader("/lib/ld.so\x00"))).Executable, "without an entry point")
	assert.False(t, inspectBytes(t, elf64(elf.ET_DYN, 1, nil)).Executable)
	assert.True(t, inspectBytes(t, elf64(elf.ET_EXEC, 1, nil)).Executable)
	assert.False(t, inspectBytes(t, elf64(elf.ET_EXEC, 0, nil)).Executable)
	assert.False(t, inspectBytes(t, elf64(elf.ET_CORE, 1, nil)).Executable)

	longest := "/" + string(bytes.Repeat([]byte("x"), 4094)) + "\x00"
	assert.Len(t, inspectBytes(t, elf64(elf.ET_EXEC, 1, loader(longest))).Interpreter, 4095)
	for _, name := range []string{"", "/" + longest} {
		data := elf64(elf.ET_EXEC, 1, loader(name))
		_, err := Inspect(bytes.NewReader(data), int64(len(data)))
		assert.ErrorIs(t, err, ErrFormat)
		assert.ErrorContains(t, err, fmt.Sprintf("has %d bytes", len(name)))
	}
	cut := elf64(elf.ET_EXEC, 1, loader("/lib/ld.so"))
	_, err := Inspect(bytes.NewReader(cut[:len(cut)-1]), int64(len(cut)-1))
	assert.ErrorIs(t, err, ErrFormat, "its loader is cut off")
	packed := elf64(elf.ET_EXEC, 1, map[elf.ProgType][]byte{elf.PT_DYNAMIC: make([]byte, 16)})
	_, err = Inspect(bytes.NewReader(packed), int64(len(packed)))
	assert.ErrorContains(t, err, "section headers")
}

func TestInspectLooksAtTheSize(t *testing.T) {
	data := header(elf.EM_X86_64, elf.ELFCLASS64, elf.ELFDATA2LSB)
	_, err := Inspect(bytes.NewReader(data), 3)
	assert.ErrorContains(t, err, "too short", "whatever the reader has")
	_, err = Inspect(bytes.NewReader(data[:4]), 4)
	assert.NotContains(t, fmt.Sprint(err), "too short")
	_, err = Inspect(bytes.NewReader(data), MaxSize)
	assert.NoError(t, err, "the largest")
	_, err = Inspect(bytes.NewReader(data), MaxSize+1)
	assert.Error(t, err)
}

func TestBitsAndByteOrders(t *testing.T) {
	for _, test := range []struct {
		file []byte
		arch string
	}{
		{header(elf.EM_MIPS, elf.ELFCLASS32, elf.ELFDATA2LSB), "mipsel"},
		{header(elf.EM_MIPS, elf.ELFCLASS64, elf.ELFDATA2MSB), "mips64"},
		{header(elf.EM_LOONGARCH, elf.ELFCLASS32, elf.ELFDATA2LSB), "loongarch32"},
		{machoFile(binary.LittleEndian, macho.Magic64, macho.CpuAmd64, macho.TypeExec), "x86_64"},
		{machoFile(binary.LittleEndian, macho.Magic32, macho.Cpu386, macho.TypeExec), "i686"},
		{machoFile(binary.LittleEndian, macho.Magic32, macho.CpuArm, macho.TypeExec), "armv7"},
		{machoFile(binary.BigEndian, macho.Magic64, macho.CpuPpc64, macho.TypeExec), "powerpc64"},
		{machoFile(binary.BigEndian, macho.Magic32, macho.CpuPpc, macho.TypeExec), "powerpc"},
		{machoFile(binary.LittleEndian, macho.Magic32, 99, macho.TypeExec), "machine-99"},
		{peFile(pe.IMAGE_FILE_MACHINE_AMD64, pe.IMAGE_FILE_EXECUTABLE_IMAGE, true), "x86_64"},
		{peFile(pe.IMAGE_FILE_MACHINE_ARM64, pe.IMAGE_FILE_EXECUTABLE_IMAGE, true), "aarch64"},
		{peFile(pe.IMAGE_FILE_MACHINE_I386, pe.IMAGE_FILE_EXECUTABLE_IMAGE, false), "i686"},
		{peFile(pe.IMAGE_FILE_MACHINE_ARMNT, pe.IMAGE_FILE_EXECUTABLE_IMAGE, false), "thumbv7a"},
		{peFile(pe.IMAGE_FILE_MACHINE_RISCV64, pe.IMAGE_FILE_EXECUTABLE_IMAGE, true), "machine-20580"},
	} {
		facts := inspectBytes(t, test.file)
		assert.Equal(t, []any{test.arch, []string{test.arch}, Static, true},
			[]any{facts.Arch, facts.Arches, facts.Linkage, facts.Executable}, test.arch)
	}
}

// machoFile makes a Mach-O file that loads libraries.
func machoFile(order binary.ByteOrder, magic uint32, cpu macho.Cpu, kind macho.Type, libraries ...string) []byte {
	var commands []byte
	for _, l := range libraries {
		name := append([]byte(l), make([]byte, 8-len(l)%8)...)
		for _, n := range []uint32{uint32(macho.LoadCmdDylib), uint32(24 + len(name)), 24, 0, 0, 0} {
			commands, _ = binary.Append(commands, order, n)
		}
		commands = append(commands, name...)
	}
	out, _ := binary.Append(nil, order, macho.FileHeader{Magic: magic, Cpu: cpu, Type: kind, Ncmd: uint32(len(libraries)), Cmdsz: uint32(len(commands))})
	if magic == macho.Magic64 {
		out = append(out, make([]byte, 4)...)
	}
	return append(out, commands...)
}

func TestMachOPrograms(t *testing.T) {
	le := binary.LittleEndian
	facts := inspectBytes(t, machoFile(le, macho.Magic64, macho.CpuArm64, macho.TypeExec, "/usr/lib/libSystem.B.dylib"))
	assert.Equal(t, Dynamic, facts.Linkage)
	assert.Equal(t, []string{"/usr/lib/libSystem.B.dylib"}, facts.Needed)
	assert.False(t, inspectBytes(t, machoFile(le, macho.Magic64, macho.CpuArm64, macho.TypeDylib)).Executable)

	// A file of several is what all of them are together.
	join := func(files ...[]byte) []byte {
		out := binary.BigEndian.AppendUint32(nil, macho.MagicFat)
		out = binary.BigEndian.AppendUint32(out, uint32(len(files)))
		var contents []byte
		start := 8 + 20*len(files)
		for i, f := range files {
			cpu, sub := le.Uint32(f[4:]), le.Uint32(f[8:])
			out, _ = binary.Append(out, binary.BigEndian, macho.FatArchHeader{Cpu: macho.Cpu(cpu), SubCpu: sub, Offset: uint32(start + len(contents)), Size: uint32(len(f)), Align: uint32(i * 0)})
			contents = append(contents, f...)
		}
		return append(out, contents...)
	}
	arm := machoFile(le, macho.Magic64, macho.CpuArm64, macho.TypeExec)
	facts = inspectBytes(t, join(arm,
		machoFile(le, macho.Magic64, macho.CpuAmd64, macho.TypeExec, "/a.dylib", "/b.dylib"),
		machoFile(le, macho.Magic64, macho.CpuPpc64, macho.TypeExec, "/b.dylib", "/c.dylib")))
	assert.Equal(t, Facts{
		Format: MachO, Arch: "universal", Arches: []string{"aarch64", "x86_64", "powerpc64"}, Linkage: Dynamic,
		Needed: []string{"/a.dylib", "/b.dylib", "/c.dylib"}, Executable: true,
	}, facts)
	library := machoFile(le, macho.Magic64, macho.CpuAmd64, macho.TypeDylib)
	assert.Error(t, func() error {
		data := join(arm, library)
		facts, err := Inspect(bytes.NewReader(data), int64(len(data)))
		if err == nil && !facts.Executable {
			err = ErrFormat
		}
		return err
	}(), "a program and a library are no program")
}

// peFile makes a PE file without sections.
func peFile(machine uint16, characteristics uint16, wide bool) []byte {
	le := binary.LittleEndian
	out := make([]byte, 0x40)
	copy(out, "MZ")
	le.PutUint32(out[0x3c:], 0x40)
	out = append(out, "PE\x00\x00"...)
	var optional []byte
	if wide {
		optional, _ = binary.Append(nil, le, pe.OptionalHeader64{Magic: 0x20b, NumberOfRvaAndSizes: 16})
	} else {
		optional, _ = binary.Append(nil, le, pe.OptionalHeader32{Magic: 0x10b, NumberOfRvaAndSizes: 16})
	}
	out, _ = binary.Append(out, le, pe.FileHeader{Machine: machine, SizeOfOptionalHeader: uint16(len(optional)), Characteristics: characteristics})
	return append(out, optional...)
}

func TestPEPrograms(t *testing.T) {
	const amd64, executable = pe.IMAGE_FILE_MACHINE_AMD64, pe.IMAGE_FILE_EXECUTABLE_IMAGE
	assert.False(t, inspectBytes(t, peFile(amd64, executable|pe.IMAGE_FILE_DLL, true)).Executable, "a library")
	assert.False(t, inspectBytes(t, peFile(amd64, 0, true)).Executable, "an incomplete link")
	object := append(peFile(amd64, executable, true)[:0x40+4+20], make([]byte, 20)...)
	binary.LittleEndian.PutUint16(object[0x40+4+16:], 0) // without an optional header
	assert.False(t, inspectBytes(t, object).Executable, "an object file")

	facts := inspect(t, goBuild(t, "GOOS=windows", "GOARCH=386"))
	assert.Contains(t, facts.Needed, "kernel32.dll")
	assert.Len(t, slices.Compact(slices.Sorted(slices.Values(facts.Needed))), len(facts.Needed), "each library once: %q", facts.Needed)
}

// The build attributes of ARM, whole and damaged.
func TestARMAttributes(t *testing.T) {
	for text, want := range map[string]string{
		"\x04\x01\x06\x09\x00\x06\x0a":      "armv7", // text that looks like numbers
		"\x05\x01\x06\x09\x00\x06\x0a":      "armv7",
		"\x07" + strings.Repeat("\xff", 11): "arm", // a number without an end
		strings.Repeat("\xff", 11):          "arm",
		"\x06\x09":                          "arm",
		"\x06\x0a":                          "armv7",
		"\x06\x0b":                          "arm",
		"\x06\x0c":                          "arm",
		"\x06\x0d":                          "armv7",
		"\x04raw\x00\x06\x0a":               "armv7",
		"\x21text\x00\x06\x0a":              "armv7",
		"\x22\x06\x06\x0a":                  "armv7", // 34 has a number, even one that looks like a tag
		"\x07\x41\x06\x0a":                  "armv7",
		"\x1f\x06\x06\x0a":                  "armv7", // 31 has one, too
		"\x20\x06\x06\x0a":                  "armv7",
		"\x06":                              "arm",
		"\x80":                              "arm",
		"\x06\x80":                          "arm",
		"\x07\x80":                          "arm",
		"\x21cut off":                       "arm",
		"\x21a\x06\x00\x06\x0a":             "armv7", // a text that is no number
		"":                                  "arm",
		"\x06\x06\x06\x0a":                  "arm", // the first counts
	} {
		assert.Equal(t, want, inspectBytes(t, armFile([]byte(text))).Arch, "%q", text)
	}

	good, le := armFile([]byte{tagCPUArch, 10}), binary.LittleEndian
	at := bytes.Index(good, []byte("A\x11\x00\x00\x00aeabi\x00\x01")) // 'A', size 17
	require.Positive(t, at)
	for name, change := range map[string]func(data []byte){
		"another format":  func(data []byte) { data[at] = 'B' },
		"size too small":  func(data []byte) { data[at+1] = 3 },
		"size too large":  func(data []byte) { data[at+1] = 18 },
		"another vendor":  func(data []byte) { data[at+5] = 'b' },
		"no vendor's end": func(data []byte) { copy(data[at+10:], "xxxxxxxx") },
		"another scope":   func(data []byte) { data[at+11] = 2 },
		"cut off":         func(data []byte) { data[at+1] = 13 },
		"no size":         func(data []byte) { le.PutUint32(data[le.Uint32(data[0x20:])+40+20:], 3) },
		"not in the file": func(data []byte) { le.PutUint32(data[le.Uint32(data[0x20:])+40+16:], 1<<30) },
	} {
		changed := bytes.Clone(good)
		change(changed)
		facts, err := Inspect(bytes.NewReader(changed), int64(len(changed)))
		require.NoError(t, err, name)
		assert.Equal(t, "arm", facts.Arch, name)
	}
	// Padding before the architecture makes it large.
	padding := func(n int) []byte {
		return append(append([]byte{5}, append(bytes.Repeat([]byte("x"), n), 0)...), tagCPUArch, 10)
	}
	const around = 1 + 4 + 6 + 5 + 1 + 1 + 2
	assert.Equal(t, "armv7", inspectBytes(t, armFile(padding(1<<16-around))).Arch)
	assert.Equal(t, "arm", inspectBytes(t, armFile(padding(1<<16-around+1))).Arch, "more than any compiler writes")
}

func TestWhatRunsOnWhat(t *testing.T) {
	for _, test := range []struct {
		have, want string
		runs       bool
	}{
		{"armv7", "armv7", true}, {"arm", "armv7", true}, {"thumbv7a", "armv7", true}, {"arm", "armv7a", true}, {"arm", "thumbv7neon", true},
		{"aarch64", "armv7", false}, {"armv7", "arm", false},
		{"arm", "armv6", true}, {"arm", "armv5te", true}, {"arm", "thumbv6m", true}, {"armv7", "armv6", false}, {"aarch64", "armv6", false},
		{"i686", "i586", true}, {"i686", "i386", true}, {"x86_64", "i586", false}, {"i686", "x86_64", false},
		{"aarch64", "arm64", true}, {"aarch64", "arm64e", true}, {"x86_64", "arm64", false}, {"aarch64", "arm64_32", false},
		{"riscv64gc", "riscv64imac", true}, {"riscv32gc", "riscv32i", true}, {"riscv32gc", "riscv64gc", false}, {"riscv64gc", "riscv32i", false},
		{"s390x", "s390x", true}, {"machine-1", "s390x", false},
	} {
		assert.Equal(t, test.runs, runsOn(test.have, test.want), "%s on %s", test.have, test.want)
	}
}

// Each problem is of the rule that callers branch on.
// rule matches the message about a broken rule.
type rule string

const (
	ruleFormat     rule = `is a .* file, but target .* needs`
	ruleExecutable rule = `is a library or an object file`
	ruleArch       rule = `is for .*, but target .* needs`
	ruleLibc       rule = `loads musl|loads glibc|so it only runs on systems with musl|not the loader of a C library`
	ruleLoader     rule = `exists only on the machine that built it`
	ruleGlibc      rule = `needs glibc .* allows at most`
)

func TestCheckNamesTheRule(t *testing.T) {
	good := Facts{
		Format: ELF, Arch: "x86_64", Arches: []string{"x86_64"}, Linkage: Dynamic, Executable: true,
		Interpreter: "/lib64/ld-linux-x86-64.so.2", Needed: []string{"libc.so.6"}, GlibcFloor: "2.34",
	}
	want := Requirements{Binary: "app", Target: "x86_64-unknown-linux-gnu", Format: ELF, Arch: "x86_64", OS: "linux", Libc: "gnu", MaxGlibc: "2.34"}
	musl := want
	musl.Libc, musl.Target = "musl", "x86_64-unknown-linux-musl"
	for name, test := range map[string]struct {
		change func(*Facts)
		want   Requirements
		rules  []rule
	}{
		"good":                 {func(*Facts) {}, want, nil},
		"another format":       {func(f *Facts) { f.Format = PE }, want, []rule{ruleFormat}},
		"no program":           {func(f *Facts) { f.Executable = false }, want, []rule{ruleExecutable}},
		"another architecture": {func(f *Facts) { f.Arch, f.Arches = "i686", []string{"i686"} }, want, []rule{ruleArch}},
		"musl by its loader": {func(f *Facts) {
			f.Interpreter, f.Needed, f.GlibcFloor = "/lib/ld-musl-x86_64.so.1", []string{"libc.so"}, ""
		}, want, []rule{ruleLibc}},
		"musl by its library": {func(f *Facts) {
			f.Interpreter, f.Needed, f.GlibcFloor = "", []string{"libz.so", "libc.musl-x86_64.so.1"}, ""
		}, want, []rule{ruleLibc}},
		"musl that names a version":       {func(f *Facts) { f.Interpreter = "/lib/ld-musl-x86_64.so.1" }, want, []rule{ruleLibc}},
		"glibc by its loader":             {func(f *Facts) { f.GlibcFloor = "" }, musl, []rule{ruleLibc}},
		"glibc by its symbols":            {func(f *Facts) { f.Interpreter = "" }, musl, []rule{ruleLibc}},
		"dynamic without any C":           {func(f *Facts) { f.Interpreter, f.Needed, f.GlibcFloor = "", []string{"libz.so"}, "" }, musl, []rule{ruleLibc}},
		"another C library":               {func(f *Facts) { f.Interpreter, f.GlibcFloor = "/lib/ld-uClibc.so.0", "" }, want, []rule{ruleLibc}},
		"another path of the loader":      {func(f *Facts) { f.Interpreter = "/gnu/store/ld-linux-x86-64.so.2" }, want, []rule{ruleLoader}},
		"a newer glibc":                   {func(f *Facts) { f.GlibcFloor = "2.35" }, want, []rule{ruleGlibc}},
		"no C library to check":           {func(f *Facts) { f.Interpreter, f.GlibcFloor = "/lib/ld-uClibc.so.0", "" }, Requirements{Target: want.Target, OS: "linux"}, nil},
		"a PE file for another C library": {func(f *Facts) { f.Format = PE }, Requirements{Target: "x86_64-pc-windows-gnu", Format: PE, OS: "windows", Libc: "musl"}, nil},
		"no system to check":              {func(f *Facts) { f.Interpreter = "/gnu/store/ld-linux-x86-64.so.2" }, Requirements{Target: want.Target}, nil},
		"everything": {
			func(f *Facts) {
				f.Executable, f.Arch, f.Arches, f.Interpreter, f.GlibcFloor = false, "arm", nil, "/nix/ld-musl-arm.so.1", "2.99"
			}, want,
			[]rule{ruleExecutable, ruleArch, ruleLibc, ruleLoader, ruleGlibc},
		},
	} {
		t.Run(name, func(t *testing.T) {
			facts := good
			test.change(&facts)
			problems := Check(facts, test.want)
			require.Len(t, problems, len(test.rules), "%v", problems)
			for i, p := range problems {
				assert.Regexp(t, string(test.rules[i]), p.Error())
			}
		})
	}
	assert.Contains(t, Check(Facts{Format: "a.out"}, want)[0].Error(), `a file of format "a.out"`)
	assert.Contains(t, Check(good, Requirements{Format: PE})[0].Error(), "needs a PE file")
	assert.Contains(t, Check(good, Requirements{Format: MachO})[0].Error(), "needs a Mach-O file")
	assert.False(t, isGlibcLoader("linker64"))
}

func TestVersionsHaveTwoToFourNumbers(t *testing.T) {
	for _, v := range []string{"2.0", "2.2.5", "2.2.5.1", "65535.0"} {
		assert.NoError(t, ParseGlibc(v), v)
	}
	for _, v := range []string{"2", "2.2.5.1.0", "65536.0", "2.", ".2"} {
		assert.Error(t, ParseGlibc(v), v)
	}
	assert.Equal(t, 1, CompareVersions("2.2.0.1", "2.2"))
	assert.Equal(t, -1, CompareVersions("2.2", "2.2.0.1"))
	assert.Equal(t, 1, CompareVersions("2.2", "none"))
	assert.Zero(t, CompareVersions("none", ""))
	assert.Zero(t, CompareVersions("2.2.0", "2.2"))
	assert.Equal(t, 1, CompareVersions("0.0", "none"))
	assert.Equal(t, -1, CompareVersions("none", "0.0"))
}
