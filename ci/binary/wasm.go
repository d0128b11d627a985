package binary

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// Sections of a WebAssembly module ("WebAssembly Core Specification", Binary Format).
const (
	wasmCustom = 0 // names, debug information, the compiler's version
	wasmExport = 7
)

// Versions in the header: that of modules, and that of components, which contain
// modules ("The WebAssembly Component Model").
var (
	wasmModule    = []byte{1, 0, 0, 0}
	wasmComponent = []byte{0x0d, 0, 1, 0}
)

// wasmSection is a section of a module or a component.
type wasmSection struct {
	id   byte
	data []byte
}

// inspectWASM reads a module or a component. Its functions come from the runtime that
// loads it, so it counts as static. A module is a program if it exports _start.
func inspectWASM(file *io.SectionReader) (Facts, error) {
	sections, component, err := wasmSections(file)
	if err != nil {
		return Facts{}, err
	}
	facts := Facts{Format: WASM, Arch: "wasm32", Arches: []string{"wasm32"}, Linkage: Static, Executable: component}
	for _, s := range sections {
		if s.id == wasmExport && !component {
			facts.Executable, err = wasmExports(s.data, "_start")
			if err != nil {
				return Facts{}, err
			}
		}
	}
	return facts, nil
}

func wasmData(file *io.SectionReader) ([]byte, error) {
	sections, _, err := wasmSections(file)
	if err != nil {
		return nil, err
	}
	var all [][]byte
	for _, s := range sections {
		if s.id != wasmCustom {
			all = append(all, s.data)
		}
	}
	return bytes.Join(all, []byte(boundary)), nil
}

// wasmSections reads a file, and reports whether it is a component.
func wasmSections(file *io.SectionReader) (sections []wasmSection, component bool, err error) {
	data, err := io.ReadAll(file)
	if err != nil {
		return nil, false, err
	}
	const header = 8
	if len(data) < header || !bytes.Equal(data[4:header], wasmModule) && !bytes.Equal(data[4:header], wasmComponent) {
		return nil, false, damaged(fmt.Errorf("its header is %q", data[:min(len(data), header)]))
	}
	component = bytes.Equal(data[4:header], wasmComponent)
	for rest := data[header:]; len(rest) > 0; {
		id := rest[0]
		var content []byte
		if content, rest, err = wasmBytes(rest[1:]); err != nil {
			return nil, false, err
		}
		sections = append(sections, wasmSection{id, content})
	}
	return sections, component, nil
}

// wasmExports reports whether an export section has a name.
func wasmExports(data []byte, name string) (bool, error) {
	count, n := binary.Uvarint(data)
	if n <= 0 {
		return false, damaged(io.ErrUnexpectedEOF)
	}
	data = data[n:]
	for range count {
		exported, rest, err := wasmBytes(data)
		if err != nil {
			return false, err
		}
		if string(exported) == name {
			return true, nil
		}
		// Its kind and its index follow.
		if len(rest) < 2 {
			return false, damaged(io.ErrUnexpectedEOF)
		}
		if _, n = binary.Uvarint(rest[1:]); n <= 0 {
			return false, damaged(io.ErrUnexpectedEOF)
		}
		data = rest[1+n:]
	}
	return false, nil
}

// wasmBytes reads a length and that many bytes, and returns what follows.
func wasmBytes(data []byte) (content, rest []byte, err error) {
	size, n := binary.Uvarint(data)
	if n <= 0 || size > uint64(len(data)-n) {
		return nil, nil, damaged(io.ErrUnexpectedEOF)
	}
	return data[n : n+int(size)], data[n+int(size):], nil
}
