package auditable

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
)

// AddSection returns an ELF program with the list of crates. One that has a list is
// returned as it is: cargo-auditable built it.
//
// What is added comes after the program: the list, the names of sections and the table of
// sections. The loader reads none of them.
func AddSection(program, data []byte) ([]byte, error) {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return nil, fmt.Errorf("read the ELF file: %w", err)
	}
	if f.Section(Section) != nil {
		return program, nil
	}
	if len(f.Sections) == 0 {
		return nil, errors.New("the ELF file has no section headers: don't compress it or strip its sections")
	}
	if len(f.Sections) >= int(elf.SHN_LORESERVE)-1 {
		return nil, fmt.Errorf("the ELF file has %d sections, and one more does not fit", len(f.Sections))
	}
	if f.Class == elf.ELFCLASS64 {
		return add(program, data, f.ByteOrder, layout[elf.Header64, elf.Section64]{
			table: func(h *elf.Header64) (offset int64, count, names uint16) { return int64(h.Shoff), h.Shnum, h.Shstrndx },
			move:  func(h *elf.Header64, offset int64) { h.Shoff, h.Shnum = uint64(offset), h.Shnum+1 },
			place: func(s *elf.Section64, offset, size int64) { s.Off, s.Size = uint64(offset), uint64(size) },
			where: func(s *elf.Section64) (offset, size int64) { return int64(s.Off), int64(s.Size) },
			new: func(name uint32) elf.Section64 {
				return elf.Section64{Name: name, Type: uint32(elf.SHT_PROGBITS), Addralign: 1}
			},
		})
	}
	return add(program, data, f.ByteOrder, layout[elf.Header32, elf.Section32]{
		table: func(h *elf.Header32) (offset int64, count, names uint16) { return int64(h.Shoff), h.Shnum, h.Shstrndx },
		move:  func(h *elf.Header32, offset int64) { h.Shoff, h.Shnum = uint32(offset), h.Shnum+1 },
		place: func(s *elf.Section32, offset, size int64) { s.Off, s.Size = uint32(offset), uint32(size) },
		where: func(s *elf.Section32) (offset, size int64) { return int64(s.Off), int64(s.Size) },
		new: func(name uint32) elf.Section32 {
			return elf.Section32{Name: name, Type: uint32(elf.SHT_PROGBITS), Addralign: 1}
		},
	})
}

// layout reads and changes the headers of a class of ELF files.
type layout[H, S any] struct {
	// table returns where the table of sections is, how many it has, and which of them has
	// their names.
	table func(*H) (offset int64, count, names uint16)
	// move sets where the table is, and adds a section.
	move  func(h *H, offset int64)
	place func(s *S, offset, size int64)
	where func(*S) (offset, size int64)
	new   func(name uint32) S
}

// align of the table of sections.
const align = 8

// add is [AddSection] for a class. The caller has parsed the file, so that its offsets
// are in it.
func add[H, S any](program, data []byte, order binary.ByteOrder, l layout[H, S]) ([]byte, error) {
	var header H
	if _, err := binary.Decode(program, order, &header); err != nil {
		return nil, fmt.Errorf("read the ELF header: %w", err)
	}
	offset, count, strings := l.table(&header)
	table := make([]S, count)
	if _, err := binary.Decode(program[offset:], order, table); err != nil {
		return nil, fmt.Errorf("read the ELF sections: %w", err)
	}
	if strings >= count {
		return nil, errors.New("the ELF file has no names of sections: don't strip them")
	}
	from, size := l.where(&table[strings])
	names := append(bytes.Clone(program[from:from+size]), Section+"\x00"...)
	section := l.new(uint32(size))

	out := bytes.Clone(program)
	l.place(&section, int64(len(out)), int64(len(data)))
	out = append(out, data...)
	l.place(&table[strings], int64(len(out)), int64(len(names)))
	out = append(out, names...)
	out = append(out, make([]byte, (align-len(out)%align)%align)...)
	l.move(&header, int64(len(out)))
	out, err := binary.Append(out, order, append(table, section))
	if err != nil {
		return nil, err
	}
	_, err = binary.Encode(out, order, &header)
	return out, err
}
