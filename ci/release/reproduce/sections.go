package reproduce

import (
	"bytes"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"encoding/binary"
	"fmt"
	"strings"
)

// kind of a section, which decides what a difference in it means.
type kind int

const (
	// content is what the program's author or a build script may have written.
	content kind = iota
	// derived sections follow from others: code has the addresses of data, tables have
	// those of code.
	derived
	// identifier is a hash of the rest.
	identifier
)

// section is a part of a file.
type section struct {
	name   string
	kind   kind
	offset int
	data   []byte
	// address in memory, or 0.
	address uint64
}

// sections returns the parts of an executable, in the order of the file. Another file
// is one part without a name.
func sections(data []byte) (parts []section) {
	defer func() {
		// The standard library's parsers have panicked on damaged files before.
		if recover() != nil || len(parts) == 0 {
			parts = []section{{data: data}}
		}
	}()
	switch {
	case bytes.HasPrefix(data, []byte(elf.ELFMAG)):
		return elfSections(data)
	case bytes.HasPrefix(data, []byte("MZ")):
		return peSections(data)
	case bytes.HasPrefix(data, []byte("\xcf\xfa\xed\xfe")), bytes.HasPrefix(data, []byte("\xce\xfa\xed\xfe")):
		return machoSections(data)
	case bytes.HasPrefix(data, []byte("\x00asm")):
		return wasmSections(data)
	}
	return nil
}

// part cuts a section out of a file; false if the file is shorter.
func part(data []byte, name string, offset, size, address uint64) (section, bool) {
	if size == 0 || offset > uint64(len(data)) || size > uint64(len(data))-offset {
		return section{}, false
	}
	return section{name: name, kind: kindOf(name), offset: int(offset), data: data[offset : offset+size], address: address}, true
}

func elfSections(data []byte) []section {
	file, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil
	}
	var parts []section
	for _, s := range file.Sections {
		if s.Type == elf.SHT_NOBITS || s.Type == elf.SHT_NULL {
			continue
		}
		if p, ok := part(data, s.Name, s.Offset, s.FileSize, s.Addr); ok {
			if s.Flags&elf.SHF_EXECINSTR != 0 {
				p.kind = derived
			}
			parts = append(parts, p)
		}
	}
	return parts
}

func peSections(data []byte) []section {
	file, err := pe.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil
	}
	var parts []section
	for _, s := range file.Sections {
		if p, ok := part(data, s.Name, uint64(s.Offset), uint64(s.Size), uint64(s.VirtualAddress)); ok {
			parts = append(parts, p)
		}
	}
	return append(parts, header(data, parts)...)
}

func machoSections(data []byte) []section {
	file, err := macho.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil
	}
	var parts []section
	for _, s := range file.Sections {
		if p, ok := part(data, s.Seg+","+s.Name, uint64(s.Offset), s.Size, s.Addr); ok {
			parts = append(parts, p)
		}
	}
	return append(parts, header(data, parts)...)
}

// header is what comes before the first section: in it, linkers for Windows and macOS
// write times and identifiers.
func header(data []byte, parts []section) []section {
	end := len(data)
	for _, p := range parts {
		end = min(end, p.offset)
	}
	if p, ok := part(data, "header", 0, uint64(end), 0); ok {
		return []section{p}
	}
	return nil
}

// wasmNames are the sections of WebAssembly by their numbers ("Modules", WebAssembly
// Core Specification).
var wasmNames = []string{"custom", "type", "import", "function", "table", "memory", "global", "export", "start", "element", "code", "data", "data count", "tag"}

func wasmSections(data []byte) []section {
	var parts []section
	for at := 8; at+1 < len(data); {
		id := int(data[at])
		size, n := binary.Uvarint(data[at+1:])
		if n <= 0 || id >= len(wasmNames) {
			return nil
		}
		start := at + 1 + n
		if p, ok := part(data, wasmNames[id], uint64(start), size, 0); ok {
			parts = append(parts, p)
		}
		if size > uint64(len(data)-start) {
			return nil
		}
		at = start + int(size)
	}
	return parts
}

// derivedNames are beginnings of the names of sections that follow from others.
var derivedNames = []string{
	".text", ".plt", ".got", ".rel", ".dyn", ".eh_frame", ".gcc_except_table", ".symtab", ".strtab", ".shstrtab", ".hash", ".gnu.hash",
	".gnu.version", ".init_array", ".fini_array", ".data.rel.ro", ".debug_aranges", ".debug_line", ".debug_loc", ".debug_ranges", ".debug_rnglists",
	".pdata", ".xdata", ".reloc", "__TEXT,__text", "__TEXT,__stubs", "__TEXT,__unwind_info", "__TEXT,__eh_frame", "__TEXT,__gcc_except_tab", "__DATA_CONST,__got",
	"code", "element",
}

func kindOf(name string) kind {
	if name == ".note.gnu.build-id" || name == ".buildid" || name == ".gnu_debuglink" {
		return identifier
	}
	for _, d := range derivedNames {
		if strings.HasPrefix(name, d) {
			return derived
		}
	}
	return content
}

// symbols finds what is at a place of a program. It is made once for a file.
type symbols struct{ all []elf.Symbol }

func symbolsOf(data []byte) (s symbols) {
	defer func() { _ = recover() }() // a damaged file has no symbols
	if file, err := elf.NewFile(bytes.NewReader(data)); err == nil {
		s.all, _ = file.Symbols()
	}
	return s
}

// at names the object at an address, with its source file where that is known; empty
// if there is none.
func (s symbols) at(address uint64) string {
	source := ""
	for _, sym := range s.all {
		switch elf.ST_TYPE(sym.Info) {
		case elf.STT_FILE:
			source = sym.Name
		case elf.STT_OBJECT, elf.STT_FUNC:
			if sym.Value <= address && address-sym.Value < sym.Size {
				if source != "" && elf.ST_BIND(sym.Info) == elf.STB_LOCAL {
					return fmt.Sprintf("%s of %s", sym.Name, source)
				}
				return sym.Name
			}
		}
	}
	return ""
}
