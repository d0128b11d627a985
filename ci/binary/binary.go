// Package binary tells from an executable's own bytes what it will run on:
// format, architecture, linkage and the oldest glibc it works with.
//
// It keeps one invariant: it reads headers, and runs nothing. What it reports
// is what a loader would act on, and where a file doesn't say, there is an
// error, never a guess. Input is hostile: no file makes [Inspect] panic.
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

// Linkage says whether a loader has to find libraries before the program runs.
type Linkage string

// The linkages. Static-pie is static.
const (
	Static  Linkage = "static"
	Dynamic Linkage = "dynamic"
)

// Facts are what a binary says about itself.
type Facts struct {
	Format Format
	// Arch in the terms of a target triple's first part: x86_64, aarch64,
	// i686, armv7, arm, riscv64gc, s390x, powerpc64le, … A Mach-O file with
	// more than one is "universal2" if they are x86_64 and aarch64, else
	// "universal". An architecture without such a name is the header's number,
	// "machine-243".
	Arch string
	// Arches are all architectures in the file, more than one only if IsFat.
	Arches []string
	// Bits is the width of addresses, 32 or 64; that of the first architecture
	// if IsFat.
	Bits int
	// Endian is "little" or "big".
	Endian string
	// Linkage of the program.
	Linkage Linkage
	// Interpreter is the dynamic loader that an ELF file asks for; else empty.
	Interpreter string
	// Needed are the libraries it asks for, in the file's order.
	Needed []string
	// GlibcFloor is the highest version of glibc's symbols that it cannot do
	// without, "2.34"; empty when it needs none.
	GlibcFloor string
	// Executable is true of programs, and false of shared libraries, object
	// files, core dumps and plug-ins.
	Executable bool
	// IsFat is true of a Mach-O file that holds a program for each of several
	// architectures.
	IsFat bool
}

// ErrFormat says that a file is no executable of a known format, or a damaged
// one.
var ErrFormat = errors.New("not an ELF, PE or Mach-O file")

// MaxSize is the size in bytes of the largest file that [Inspect] looks at:
// GitHub takes no larger asset.
const MaxSize = 2 << 30

// Inspect reads the facts of the binary of the given size in bytes. Errors
// wrap [ErrFormat] if the file isn't one.
func Inspect(r io.ReaderAt, size int64) (facts Facts, err error) {
	if size > MaxSize {
		return Facts{}, fmt.Errorf("inspect binary: %d bytes are more than GitHub takes for an asset, %d: strip it", size, int64(MaxSize))
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

// damaged is the error of a parser of the standard library.
func damaged(err error) error { return fmt.Errorf("%w, or a damaged one: %w", ErrFormat, err) }
