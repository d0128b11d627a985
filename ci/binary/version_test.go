package binary

import (
	"bytes"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A version counts if it is whole, whatever text is beside it in the program.
func TestMentions(t *testing.T) {
	for _, c := range []struct {
		version, data string
		want          bool
	}{
		{"1.2.3", "1.2.3", true},
		{"1.2.3", "tool 1.2.3\x00", true},
		{"1.2.3", "tool/v1.2.3", true},
		{"1.2.3", "arguments to parse1.2.3A highly", true},
		{"1.2.3", "git-cliff-core1.2.3git_cliff", true},
		{"1.2.3", "x86_64-unknown-linux-gnu1.2.3", true},
		{"1.2.3", "utf81.2.3", true},
		{"1.2.3", "sha2561.2.3", true},
		{"1.2.3", "v8_1.2.3", true},
		{"1.2.3", "the end.1.2.3.", true},
		{"1.2.3", "1.2.3--option", true},
		{"1.2.3", "1.2.3-o", true},
		{"1.2.3", "1.2.3-output", true},
		{"1.2.3", "1.2.3+5f0c1d2", true},
		{"1.2.3", "tool-1.2.3.tar.gz", true},
		{"1.2.3", "10.1.2.3 and 1.2.3", true},
		{"1.2.3", "", false},
		{"1.2.3", "1.2.30", false},
		{"1.2.3", "1.2.3.4", false},
		{"1.2.3", "11.2.3", false},
		{"1.2.3", " 11.2.3", false},
		{"1.2.3", "v11.2.3", false},
		{"1.2.3", "(V11.2.3", false},
		{"1.2.3", "0.1.2.3", false},
		{"1.2.3", "0.5-1.2.3", false},
		{"1.2.3", "1.2.3-rc.1", false},
		{"1.2.3", "1.2.3-rc1", false},
		{"1.2.3", "1.2.3-rc", false},
		{"1.2.3", "1.2.3-beta of", false},
		{"1.2.3", "1.2.3-4-g5f0c1d2", false},
		{"1.2.3", "/tool-1.2.3/src/lib.rs", false},
		{"1.2.3", `\tool-1.2.3\src\lib.rs`, false},
		{"1.2.3", "tool/1.2.3/src", true},
		{"1.2.3-rc.1", "tool1.2.3-rc.1Prints", true},
		{"1.2.3-rc.1", "1.2.3-rc.10", false},
		{"1.2.3-rc.1", "1.2.3", false},
	} {
		assert.Equal(t, c.want, mentions([]byte(c.data), c.version), "%s in %q", c.version, c.data)
	}
	long := strings.Repeat("1", 2*lookAround)
	assert.False(t, mentions([]byte(long+"1.2.3"), "1.2.3"), "only digits as far as it looks")
}

func TestNearest(t *testing.T) {
	for _, c := range []struct{ version, data, want string }{
		{"2.13.1", "", ""},
		{"2.13.1", "no version", ""},
		{"2.13.1", "1.0.0 2.12.0 3.0.0", "2.12.0"},
		{"2.13.1", "3.13.1 1.13.1", "3.13.1"},
		{"2.13.1", "2.14.9 2.12.1", "2.12.1"},
		{"2.13.1", "2.13.7 2.13.3 2.13.9", "2.13.3"},
		{"2.13.1", "2.13.1-rc.2Options", "2.13.1-rc.2"},
		{"2.13.1", "2.13.1-beta", "2.13.1-beta"},
		{"2.13.1-rc.2", "2.13.1", "2.13.1"},
		{"2.13.5-rc.2", "2.13.0 2.13.4", "2.13.4"},
		{"2.13.1", "/indexmap-2.13.0/src/map.rs 2.1.0", "2.1.0"},
		{"2.13.1", "12.13.14.15 9.0.1", "9.0.1"},
	} {
		assert.Equal(t, c.want, nearest([]byte(c.data), c.version), "%s in %q", c.version, c.data)
	}
}

func find(t *testing.T, data []byte, version string) Mention {
	t.Helper()
	m, err := FindVersion(bytes.NewReader(data), int64(len(data)), version)
	require.NoError(t, err)
	return m
}

// Only initialized data count: not code, debug information or notes of a compiler.
func TestFindVersionInELF(t *testing.T) {
	const source = `
const char text[] __attribute__((used)) = "parse1.2.3A tool";
char written[] __attribute__((used)) = "tool 1.2.4";
__attribute__((used, section(".text"))) const char code[] = "tool 1.2.5";
__attribute__((used, section(".note.other"))) const char more[] = "tool 1.2.8";
__asm__(".pushsection .unloaded\n.string \"tool 1.2.6\"\n.popsection");
int main(void) { return 0; }`
	data, err := os.ReadFile(gcc(t, source))
	require.NoError(t, err)
	require.Contains(t, string(data), "tool 1.2.5")
	require.Contains(t, string(data), "tool 1.2.6")
	assert.Equal(t, Mention{Found: true}, find(t, data, "1.2.3"))
	assert.Equal(t, Mention{Found: true}, find(t, data, "1.2.4"))
	assert.Equal(t, Mention{Nearest: "1.2.4"}, find(t, data, "1.2.5"), "that is code")
	assert.Equal(t, Mention{Nearest: "1.2.4"}, find(t, data, "1.2.6"), "that is not loaded")
	f, err := elf.NewFile(bytes.NewReader(data))
	require.NoError(t, err)
	names, err := f.Section(".dynstr").Data()
	require.NoError(t, err)
	require.Contains(t, string(names), "GLIBC_2.2.5")
	assert.NotEqual(t, "2.2.5", find(t, data, "2.2.6").Nearest, "a symbol's version")
}

// peWith makes a PE file with two sections: code and initialized data.
func peWith(code, data string) []byte {
	le := binary.LittleEndian
	out := make([]byte, 0x40)
	copy(out, "MZ")
	le.PutUint32(out[0x3c:], 0x40)
	out = append(out, "PE\x00\x00"...)
	out, _ = binary.Append(out, le, pe.FileHeader{Machine: pe.IMAGE_FILE_MACHINE_AMD64, NumberOfSections: 2})
	at := uint32(len(out) + 2*40)
	header := func(name string, flags uint32, text string) {
		h := pe.SectionHeader32{SizeOfRawData: uint32(len(text)), PointerToRawData: at, Characteristics: flags}
		copy(h.Name[:], name)
		out, _ = binary.Append(out, le, h)
		at += uint32(len(text))
	}
	header(".text", pe.IMAGE_SCN_CNT_CODE, code)
	header(".rdata", pe.IMAGE_SCN_CNT_INITIALIZED_DATA, data)
	return append(out, code+data...)
}

func TestFindVersionInPE(t *testing.T) {
	file := peWith("tool 1.2.5", "parse1.2.3A tool")
	assert.Equal(t, Mention{Found: true}, find(t, file, "1.2.3"))
	assert.Equal(t, Mention{Nearest: "1.2.3"}, find(t, file, "1.2.5"))
}

// machoSection of a file.
type machoSection struct {
	segment string
	flags   uint32
	text    string
}

func machoWith(cpu macho.Cpu, sections ...machoSection) []byte {
	le := binary.LittleEndian
	size := 72 + 80*len(sections)
	out, _ := binary.Append(nil, le, macho.FileHeader{Magic: macho.Magic64, Cpu: cpu, Type: macho.TypeExec, Ncmd: 1, Cmdsz: uint32(size)})
	out = append(out, 0, 0, 0, 0)
	out, _ = binary.Append(out, le, macho.Segment64{Cmd: macho.LoadCmdSegment64, Len: uint32(size), Nsect: uint32(len(sections))})
	at := len(out) + 80*len(sections)
	var texts string
	for _, s := range sections {
		h := macho.Section64{Size: uint64(len(s.text)), Offset: uint32(at), Flags: s.flags}
		copy(h.Seg[:], s.segment)
		out, _ = binary.Append(out, le, h)
		at += len(s.text)
		texts += s.text
	}
	return append(out, texts...)
}

func TestFindVersionInMachO(t *testing.T) {
	file := machoWith(macho.CpuArm64,
		machoSection{"__TEXT", 0x80000400, "tool 1.2.5"},
		machoSection{"__TEXT", 0x80000000, "tool 1.2.5"},
		machoSection{"__TEXT", 0x400, "tool 1.2.5"},
		machoSection{"__DATA", 1, "tool 1.2.5"},
		machoSection{"__DATA", 18, "tool 1.2.5"},
		machoSection{"__DWARF", 0, "tool 1.2.5"},
		machoSection{"__TEXT", 0, "parse1.2.3A tool"},
		machoSection{"__TEXT", 2, "tool 1.2.4"}, // S_CSTRING_LITERALS
	)
	assert.Equal(t, Mention{Found: true}, find(t, file, "1.2.3"))
	assert.Equal(t, Mention{Found: true}, find(t, file, "1.2.4"))
	assert.Equal(t, Mention{Nearest: "1.2.4"}, find(t, file, "1.2.5"))
}

// Sections that meet make no version.
func TestFindVersionInOneSection(t *testing.T) {
	file := machoWith(macho.CpuArm64, machoSection{"__TEXT", 0, "tool 1.2"}, machoSection{"__TEXT", 0, ".3"})
	assert.Equal(t, Mention{}, find(t, file, "1.2.3"))
}

// joinPrograms makes a universal file of programs, as lipo does.
func joinPrograms(programs ...[]byte) []byte {
	out := binary.BigEndian.AppendUint32(nil, macho.MagicFat)
	out = binary.BigEndian.AppendUint32(out, uint32(len(programs)))
	at := 4096
	for _, p := range programs {
		out, _ = binary.Append(out, binary.BigEndian, macho.FatArchHeader{
			Cpu: macho.Cpu(binary.LittleEndian.Uint32(p[4:])), Offset: uint32(at), Size: uint32(len(p)), Align: 12,
		})
		at += (len(p) + 4095) / 4096 * 4096
	}
	for _, p := range programs {
		out = append(out, make([]byte, (4096-len(out)%4096)%4096)...)
		out = append(out, p...)
	}
	return out
}

// Each program of a universal file must have the version: one may be of an earlier build.
func TestFindVersionInEachProgram(t *testing.T) {
	intel := machoWith(macho.CpuAmd64, machoSection{"__TEXT", 0, "tool 1.2.3"})
	arm := machoWith(macho.CpuArm64, machoSection{"__TEXT", 0, "tool 1.2.3"})
	stale := machoWith(macho.CpuArm64, machoSection{"__TEXT", 0, "tool 1.2.2"})
	assert.Equal(t, "universal2", inspectBytes(t, joinPrograms(intel, arm)).Arch)
	assert.Equal(t, Mention{Found: true}, find(t, joinPrograms(intel, arm), "1.2.3"))
	assert.Equal(t, Mention{Nearest: "1.2.2"}, find(t, joinPrograms(intel, stale), "1.2.3"))
	stale[4] = byte(macho.CpuPpc)
	assert.Equal(t, Mention{Nearest: "1.2.2"}, find(t, joinPrograms(stale, intel), "1.2.3"))
}

func TestFindVersionRefuses(t *testing.T) {
	cut := func(data []byte) string { return string(data[:len(data)-1]) }
	for name, data := range map[string]string{
		"nothing":               "",
		"script":                "#!/bin/sh\necho 1.2.3\n",
		"cut-off ELF":           "\x7fELF\x02\x01\x01",
		"cut-off PE":            "MZ\x90\x00",
		"cut-off Mach-O":        "\xcf\xfa\xed\xfe\x07",
		"cut-off universal":     "\xca\xfe\xba\xbe\x00\x00\x00\x41\x00\x10",
		"PE without its end":    cut(peWith("code", "1.2.3")),
		"Mach-O without an end": cut(machoWith(macho.CpuArm64, machoSection{"__TEXT", 0, "1.2.3"})),
		"universal without end": cut(joinPrograms(machoWith(macho.CpuArm64, machoSection{"__TEXT", 0, "1.2.3"}))),
	} {
		m, err := FindVersion(strings.NewReader(data), int64(len(data)), "1.2.3")
		assert.Equal(t, Mention{}, m, name)
		if assert.ErrorIs(t, err, ErrFormat, name) {
			assert.ErrorContains(t, err, `search a binary for version "1.2.3": `, name)
		}
	}
	_, err := FindVersion(panicking{}, 100, "1.2.3")
	assert.ErrorIs(t, err, ErrFormat)
}
