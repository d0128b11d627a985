// Package binary reads from an executable's headers what it runs on: format,
// architecture, linkage and the oldest glibc.
//
// It runs nothing, and keeps two invariants: it reports what a loader would act on,
// and an error, never a guess, if the file is silent; and no file makes [Inspect]
// panic.
package binary

import (
	"errors"
	"fmt"
	"io"
)

// Format is the kind of an executable file.
type Format string

// The formats.
const (
	ELF   Format = "elf"
	PE    Format = "pe"
	MachO Format = "macho"
	WASM  Format = "wasm"
)

// Linkage reports whether a loader must find libraries before the program runs.
type Linkage string

// The linkages. Static-pie is static.
const (
	Static  Linkage = "static"
	Dynamic Linkage = "dynamic"
)

// Facts describe a binary.
type Facts struct {
	Format Format
	// Arch is the first part of a target triple: x86_64, aarch64, i686, armv7, arm,
	// riscv64gc, s390x, powerpc64le, … A Mach-O file with several architectures is
	// "universal2" if they are x86_64 and aarch64, else "universal". Unknown
	// architectures have the header's number, "machine-243".
	Arch string
	// Arches lists all architectures; only a Mach-O file can have several.
	Arches  []string
	Linkage Linkage
	// Interpreter is the dynamic loader that an ELF file requests, or empty.
	Interpreter string
	// Needed lists the required libraries, in the file's order.
	Needed []string
	// GlibcFloor is the highest version of the required glibc symbols, "2.34", or
	// empty.
	GlibcFloor string
	// Executable is false for shared libraries, object files, core dumps and
	// plug-ins.
	Executable bool
}

// ErrFormat reports a damaged executable, or a file of another format.
var ErrFormat = errors.New("not an ELF, PE, Mach-O or WebAssembly file")

// MaxSize bounds a file, in bytes. It is GitHub's limit of an asset.
const MaxSize = 2 << 30

// Inspect reads the facts of a binary of size bytes. Errors wrap [ErrFormat] if the
// file is not a binary.
func Inspect(r io.ReaderAt, size int64) (Facts, error) {
	if size > MaxSize {
		return Facts{}, fmt.Errorf("inspect binary: %d bytes, more than GitHub's limit of %d for an asset: strip it", size, int64(MaxSize))
	}
	facts, err := inspectFile(io.NewSectionReader(r, 0, size))
	if err != nil {
		return Facts{}, fmt.Errorf("inspect binary: %w", err)
	}
	return facts, nil
}

func inspectFile(file *io.SectionReader) (facts Facts, err error) {
	defer recovered(&err)
	format, err := formatOf(file)
	switch format {
	case ELF:
		return inspectELF(file)
	case PE:
		return inspectPE(file)
	case MachO:
		return inspectMachO(file)
	case fat:
		return inspectFat(file)
	case WASM:
		return inspectWASM(file)
	}
	return Facts{}, err
}

// recovered makes an error of a panic: the standard library's parsers have panicked on
// damaged files before.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %v", ErrFormat, p)
	}
}

// fat is a Mach-O file with several programs.
const fat Format = "fat"

// formatOf returns the format of a file by its first bytes.
func formatOf(file io.ReaderAt) (Format, error) {
	var magic [4]byte
	if _, err := file.ReadAt(magic[:], 0); err != nil {
		return "", fmt.Errorf("%w: it is too short", ErrFormat)
	}
	switch m := string(magic[:]); {
	case m == "\x7fELF":
		return ELF, nil
	case m[:2] == "MZ":
		return PE, nil
	case m == "\xca\xfe\xba\xbe":
		return fat, nil
	case m == "\xcf\xfa\xed\xfe", m == "\xce\xfa\xed\xfe", m == "\xfe\xed\xfa\xcf", m == "\xfe\xed\xfa\xce":
		return MachO, nil
	case m == "\x00asm":
		return WASM, nil
	}
	return "", fmt.Errorf("%w: it starts with %q", ErrFormat, magic[:])
}

// damaged wraps an error of the standard library's parsers.
func damaged(err error) error { return fmt.Errorf("%w, or a damaged one: %w", ErrFormat, err) }
