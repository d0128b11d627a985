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
var ErrFormat = errors.New("not an ELF, PE or Mach-O file")

// MaxSize bounds a file, in bytes. It is GitHub's limit of an asset.
const MaxSize = 2 << 30

// Inspect reads the facts of a binary of size bytes. Errors wrap [ErrFormat] if the
// file is not a binary.
func Inspect(r io.ReaderAt, size int64) (facts Facts, err error) {
	if size > MaxSize {
		return Facts{}, fmt.Errorf("inspect binary: %d bytes, more than GitHub's limit of %d for an asset: strip it", size, int64(MaxSize))
	}
	// The standard library's parsers have panicked on damaged files before.
	defer func() {
		if p := recover(); p != nil {
			facts, err = Facts{}, fmt.Errorf("inspect binary: %w: %v", ErrFormat, p)
		}
	}()
	var magic [4]byte
	if _, err := r.ReadAt(magic[:], 0); err != nil || size < int64(len(magic)) {
		return Facts{}, fmt.Errorf("inspect binary: %w: it is too short", ErrFormat)
	}
	file := io.NewSectionReader(r, 0, size)
	switch m := string(magic[:]); {
	case m == "\x7fELF":
		facts, err = inspectELF(file)
	case m[:2] == "MZ":
		facts, err = inspectPE(file)
	case m == "\xca\xfe\xba\xbe":
		facts, err = inspectFat(file)
	case m == "\xcf\xfa\xed\xfe", m == "\xce\xfa\xed\xfe", m == "\xfe\xed\xfa\xcf", m == "\xfe\xed\xfa\xce":
		facts, err = inspectMachO(file)
	default:
		err = fmt.Errorf("%w: it starts with %q", ErrFormat, magic[:])
	}
	if err != nil {
		return Facts{}, fmt.Errorf("inspect binary: %w", err)
	}
	return facts, nil
}

// damaged wraps an error of the standard library's parsers.
func damaged(err error) error { return fmt.Errorf("%w, or a damaged one: %w", ErrFormat, err) }
