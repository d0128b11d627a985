package auditable

import (
	"bytes"
	"compress/zlib"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/release/cargo"
)

var crates = []cargo.Crate{
	{Name: "app", Version: "1.0.0", From: cargo.FromPath, Linked: true, Root: true, Dependencies: []int{1, 3, 4}},
	{Name: "cc", Version: "1.1.0", From: cargo.FromCratesIO},
	{Name: "ctl", Version: "2.0.0", From: cargo.FromPath, Linked: true, Root: true, Dependencies: []int{4}},
	{Name: "inner", Version: "0.1.0", From: cargo.FromRegistry, Linked: true, Dependencies: []int{4}},
	{Name: "tower", Version: "0.4.0", From: cargo.FromGit, Linked: true},
}

// listOf reads a list as scanners do.
func listOf(t *testing.T, program []byte) map[string]any {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(program))
	require.NoError(t, err)
	s := f.Section(".dep-v0")
	require.NotNil(t, s, "the section of the list")
	assert.Zero(t, s.Flags, "it is not loaded")
	data, err := s.Data()
	require.NoError(t, err)
	r, err := zlib.NewReader(bytes.NewReader(data))
	require.NoError(t, err)
	text, err := io.ReadAll(r)
	require.NoError(t, err)
	var out map[string]any
	require.NoError(t, json.Unmarshal(text, &out))
	return out
}

func TestData(t *testing.T) {
	data, err := Data(crates, "app")
	require.NoError(t, err)
	r, err := zlib.NewReader(bytes.NewReader(data))
	require.NoError(t, err)
	text, err := io.ReadAll(r)
	require.NoError(t, err)
	assert.JSONEq(t, `{"format":1,"packages":[
		{"name":"app","version":"1.0.0","source":"local","root":true,"dependencies":[1,2,3]},
		{"name":"cc","version":"1.1.0","source":"crates.io","kind":"build"},
		{"name":"inner","version":"0.1.0","source":"registry","dependencies":[3]},
		{"name":"tower","version":"0.4.0","source":"git"}]}`, string(text), "one root, and only what it depends on")
	again, err := Data(crates, "app")
	require.NoError(t, err)
	assert.Equal(t, data, again)
	_, err = Data(crates, "inner")
	assert.ErrorContains(t, err, `no crate of the build is package "inner"`)
}

// small makes an ELF file of a class and byte order, with names of sections only.
func small[H, S any](t *testing.T, class elf.Class, order binary.ByteOrder, header H, table []S, names string) []byte {
	t.Helper()
	out, err := binary.Append(nil, order, header)
	require.NoError(t, err)
	data := elf.ELFDATA2LSB
	if order == binary.BigEndian {
		data = elf.ELFDATA2MSB
	}
	copy(out, elf.ELFMAG)
	out[elf.EI_CLASS], out[elf.EI_DATA], out[elf.EI_VERSION] = byte(class), byte(data), byte(elf.EV_CURRENT)
	out = append(out, names...)
	out, err = binary.Append(out, order, table)
	require.NoError(t, err)
	return out
}

const names = "\x00.shstrtab\x00"

func small64(t *testing.T, order binary.ByteOrder) []byte {
	return small(t, elf.ELFCLASS64, order, elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_S390), Version: 1, Shoff: 64 + uint64(len(names)), Ehsize: 64, Shentsize: 64, Shnum: 2, Shstrndx: 1},
		[]elf.Section64{{}, {Name: 1, Type: uint32(elf.SHT_STRTAB), Off: 64, Size: uint64(len(names))}}, names)
}

func small32(t *testing.T, order binary.ByteOrder) []byte {
	return small(t, elf.ELFCLASS32, order, elf.Header32{Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_ARM), Version: 1, Shoff: 52 + uint32(len(names)), Ehsize: 52, Shentsize: 40, Shnum: 2, Shstrndx: 1},
		[]elf.Section32{{}, {Name: 1, Type: uint32(elf.SHT_STRTAB), Off: 52, Size: uint32(len(names))}}, names)
}

func TestAddSection(t *testing.T) {
	data, err := Data(crates, "app")
	require.NoError(t, err)
	for name, program := range map[string][]byte{
		"64 bits": small64(t, binary.LittleEndian), "64 bits, big-endian": small64(t, binary.BigEndian),
		"32 bits": small32(t, binary.LittleEndian), "32 bits, big-endian": small32(t, binary.BigEndian),
	} {
		before := bytes.Clone(program)
		out, err := AddSection(program, data)
		require.NoError(t, err, name)
		assert.Equal(t, before, program, "the caller's program is left as it is")
		assert.Equal(t, before[64:], out[64:len(before)], name)
		assert.Len(t, listOf(t, out)["packages"], 4, name)
		f, err := elf.NewFile(bytes.NewReader(out))
		require.NoError(t, err)
		require.Len(t, f.Sections, 3)
		assert.Equal(t, ".shstrtab", f.Sections[1].Name)
		again, err := AddSection(out, []byte("other"))
		require.NoError(t, err)
		assert.Equal(t, out, again, "a program with a list keeps it")
	}

	stripped := small64(t, binary.LittleEndian)
	copy(stripped[0x28:], make([]byte, 8)) // e_shoff
	copy(stripped[0x3c:], make([]byte, 4)) // e_shnum, e_shstrndx
	_, err = AddSection(stripped, data)
	assert.ErrorContains(t, err, "no section headers")
	_, err = AddSection([]byte("MZ"), data)
	assert.ErrorContains(t, err, "read the ELF file")
}

// A real program runs as before.
func TestProgramRunsWithItsList(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n\nfunc main() { println(\"hello\") }\n"), 0o600))
	file := filepath.Join(dir, "program")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", file, "main.go")
	build.Dir, build.Env = dir, append(os.Environ(), "GOOS=linux", "GOFLAGS=", "GOWORK=off", "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	program, err := os.ReadFile(file)
	require.NoError(t, err)
	data, err := Data(crates, "ctl")
	require.NoError(t, err)
	with, err := AddSection(program, data)
	require.NoError(t, err)
	assert.Equal(t, "ctl", listOf(t, with)["packages"].([]any)[0].(map[string]any)["name"])
	require.NoError(t, os.WriteFile(file, with, 0o600))
	require.NoError(t, os.Chmod(file, 0o700))
	out, err = exec.CommandContext(t.Context(), file).CombinedOutput()
	require.NoError(t, err)
	assert.Equal(t, "hello\n", string(out))
}
