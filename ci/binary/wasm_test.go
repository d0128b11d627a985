package binary

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// wasmFile makes a file of a header and sections.
func wasmFile(version []byte, sections ...wasmSection) []byte {
	out := append([]byte("\x00asm"), version...)
	for _, s := range sections {
		out = append(out, s.id, byte(len(s.data)))
		out = append(out, s.data...)
	}
	return out
}

func exports(names ...string) wasmSection {
	data := []byte{byte(len(names))}
	for i, name := range names {
		data = append(data, byte(len(name)))
		data = append(append(data, name...), 0, byte(i))
	}
	return wasmSection{wasmExport, data}
}

// The linker of Go writes modules for WASI too.
func TestInspectWebAssembly(t *testing.T) {
	file := goBuild(t, "GOOS=wasip1", "GOARCH=wasm")
	want := Facts{Format: WASM, Arch: "wasm32", Arches: []string{"wasm32"}, Linkage: Static, Executable: true}
	assert.Equal(t, want, inspect(t, file))
	data, err := os.ReadFile(filepath.Clean(file))
	require.NoError(t, err)
	assert.Equal(t, want, inspectBytes(t, data))

	for name, c := range map[string]struct {
		file []byte
		want bool
	}{
		"a program":        {wasmFile(wasmModule, exports("memory", "_start")), true},
		"a library":        {wasmFile(wasmModule, exports("memory", "_initialize")), false},
		"no exports":       {wasmFile(wasmModule, wasmSection{wasmCustom, []byte("\x06_start")}), false},
		"nothing exported": {wasmFile(wasmModule, exports()), false},
		"a component":      {wasmFile(wasmComponent, wasmSection{wasmExport, []byte{0xff}}), true},
		"empty":            {wasmFile(wasmModule), false},
	} {
		want.Executable = c.want
		assert.Equal(t, want, inspectBytes(t, c.file), name)
	}
}

func TestInspectRefusesDamagedWebAssembly(t *testing.T) {
	for name, data := range map[string][]byte{
		"no header":               []byte("\x00asm"),
		"another version":         wasmFile([]byte{2, 0, 0, 0}),
		"a section without size":  append(wasmFile(wasmModule), 1),
		"a section that is cut":   append(wasmFile(wasmModule), 1, 5, 0),
		"an endless size":         append(wasmFile(wasmModule), 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01),
		"exports without number":  wasmFile(wasmModule, wasmSection{wasmExport, nil}),
		"more exports than there": wasmFile(wasmModule, wasmSection{wasmExport, []byte{2, 1, 'a', 0, 0}}),
		"an export without kind":  wasmFile(wasmModule, wasmSection{wasmExport, []byte{1, 1, 'a'}}),
		"an export without index": wasmFile(wasmModule, wasmSection{wasmExport, []byte{1, 1, 'a', 0}}),
		"an index that is cut":    wasmFile(wasmModule, wasmSection{wasmExport, []byte{1, 1, 'a', 0, 0x80}}),
	} {
		_, err := Inspect(bytes.NewReader(data), int64(len(data)))
		assert.ErrorIs(t, err, ErrFormat, name)
	}
	header := []byte("\x00asm\x02\x00\x00\x00")
	_, err := Inspect(bytes.NewReader(header), int64(len(header)))
	assert.ErrorContains(t, err, `or a damaged one: its header is "\x00asm\x02\x00\x00\x00"`)
	_, err = FindVersion(strings.NewReader(string(header)), int64(len(header)), "1.2.3")
	assert.ErrorIs(t, err, ErrFormat)
}

// An index may have several bytes.
func TestExportsOfLargeModules(t *testing.T) {
	file := wasmFile(wasmModule, wasmSection{wasmExport, []byte("\x02\x01a\x00\x80\x01\x06_start\x00\x81\x01")})
	assert.True(t, inspectBytes(t, file).Executable)
}

func TestFindVersionInWebAssembly(t *testing.T) {
	file := wasmFile(wasmModule, wasmSection{wasmCustom, []byte("rustc 1.95.0")}, wasmSection{11, []byte("parse1.2.")}, wasmSection{12, []byte("3")}, wasmSection{11, []byte("tool 1.2.4Prints")})
	assert.Equal(t, Mention{Found: true}, find(t, file, "1.2.4"))
	assert.Equal(t, Mention{Nearest: "1.2.4"}, find(t, file, "1.2.3"), "sections that meet")
	assert.Equal(t, Mention{Nearest: "1.2.4"}, find(t, file, "1.95.0"), "that of the compiler")
}
