package binary

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

func inspectELF(r *io.SectionReader) (Facts, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return Facts{}, damaged(err)
	}
	facts := Facts{Format: ELF, Arch: elfArch(f), Linkage: Static}
	facts.Arches = []string{facts.Arch}
	hasDynamic := false
	for _, p := range f.Progs {
		switch p.Type {
		case elf.PT_INTERP:
			if facts.Interpreter, err = elfInterpreter(p); err != nil {
				return Facts{}, err
			}
		case elf.PT_DYNAMIC:
			hasDynamic = true
		}
	}
	if hasDynamic && f.SectionByType(elf.SHT_DYNAMIC) == nil {
		// The parser finds libraries by section; without any, the file would pass for
		// a static one.
		return Facts{}, errors.New("the ELF file has no section headers, so its libraries are unknown: don't compress it or strip its sections")
	}
	if facts.Needed, err = f.DynString(elf.DT_NEEDED); err != nil {
		return Facts{}, damaged(err)
	}
	if facts.Interpreter != "" || len(facts.Needed) > 0 {
		facts.Linkage = Dynamic
	}
	if facts.GlibcFloor, err = glibcFloor(f); err != nil {
		return Facts{}, err
	}
	facts.Executable = elfExecutable(f, facts.Interpreter)
	return facts, nil
}

// elfExecutable reports whether a file is a program. Programs and shared libraries
// may both be ET_DYN; a dynamic program names its loader, and a static-pie program
// has DF_1_PIE.
func elfExecutable(f *elf.File, interpreter string) bool {
	switch f.Type {
	case elf.ET_EXEC:
		return f.Entry != 0
	case elf.ET_DYN:
		if f.Entry == 0 {
			return false
		}
		if interpreter != "" {
			return true
		}
		// Older linkers mark programs with DT_DEBUG only.
		flags, _ := f.DynValue(elf.DT_FLAGS_1)
		debug, _ := f.DynValue(elf.DT_DEBUG)
		return len(debug) > 0 || len(flags) > 0 && flags[0]&uint64(elf.DF_1_PIE) != 0
	default:
		return false
	}
}

func elfInterpreter(p *elf.Prog) (string, error) {
	const longest = 4096 // PATH_MAX
	if p.Filesz == 0 || p.Filesz > longest {
		return "", fmt.Errorf("%w: the loader's name has %d bytes", ErrFormat, p.Filesz)
	}
	name := make([]byte, p.Filesz)
	if _, err := io.ReadFull(p.Open(), name); err != nil {
		return "", damaged(err)
	}
	name, _, _ = bytes.Cut(name, []byte{0})
	return string(name), nil
}

func elfArch(f *elf.File) string {
	little := f.Data == elf.ELFDATA2LSB
	wide := f.Class == elf.ELFCLASS64
	pick := func(condition bool, yes, no string) string {
		if condition {
			return yes
		}
		return no
	}
	switch f.Machine {
	case elf.EM_X86_64:
		return "x86_64"
	case elf.EM_386:
		return "i686"
	case elf.EM_AARCH64:
		return pick(little, "aarch64", "aarch64_be")
	case elf.EM_ARM:
		return pick(armv7(f), "armv7", "arm")
	case elf.EM_RISCV:
		// All 64-bit Rust targets with an operating system are riscv64gc.
		return pick(wide, "riscv64gc", "riscv32gc")
	case elf.EM_S390:
		return "s390x"
	case elf.EM_PPC64:
		return pick(little, "powerpc64le", "powerpc64")
	case elf.EM_PPC:
		return "powerpc"
	case elf.EM_LOONGARCH:
		return pick(wide, "loongarch64", "loongarch32")
	case elf.EM_MIPS:
		return "mips" + pick(wide, "64", "") + pick(little, "el", "")
	case elf.EM_SPARCV9:
		return "sparc64"
	default:
		return fmt.Sprintf("machine-%d", uint16(f.Machine))
	}
}

const (
	armAttributes = elf.SectionType(0x70000003) // SHT_ARM_ATTRIBUTES
	tagFile       = 1
	tagCPURawName = 4
	tagCPUName    = 5
	tagCPUArch    = 6
	archV7        = 10
	archV6M       = 11 // like 12, a microcontroller below v7 in spite of its number
	archV6SM      = 12
)

// armv7 reports whether the build attributes of an ARM file require at least ARMv7.
// The header doesn't tell. "Addenda to, and Errata in, the ABI for the ARM
// Architecture", section 2, has the layout.
func armv7(f *elf.File) bool {
	section := f.SectionByType(armAttributes)
	if section == nil || section.Size > 1<<16 {
		return false
	}
	data, err := section.Data()
	if err != nil || len(data) < 5 || data[0] != 'A' {
		return false
	}
	data = data[1:]
	size := f.ByteOrder.Uint32(data)
	if size < 4 || uint64(size) > uint64(len(data)) {
		return false
	}
	vendor, attributes, found := bytes.Cut(data[4:size], []byte{0})
	if !found || string(vendor) != "aeabi" || len(attributes) < 5 || attributes[0] != tagFile {
		return false
	}
	attributes = attributes[5:] // the tag and the length of the rest
	for len(attributes) > 0 {
		tag, n := binary.Uvarint(attributes)
		if n <= 0 {
			return false
		}
		attributes = attributes[n:]
		// Odd tags from 32 on have text.
		if tag == tagCPURawName || tag == tagCPUName || tag > 32 && tag%2 == 1 {
			if _, attributes, found = bytes.Cut(attributes, []byte{0}); !found {
				return false
			}
			continue
		}
		value, n := binary.Uvarint(attributes)
		if n <= 0 {
			return false
		}
		attributes = attributes[n:]
		if tag == tagCPUArch {
			return value >= archV7 && value != archV6M && value != archV6SM
		}
	}
	return false
}

// glibcFloor returns the highest required version of glibc's libraries, which share
// the namespace GLIBC_.
func glibcFloor(f *elf.File) (string, error) {
	if f.SectionByType(elf.SHT_GNU_VERNEED) == nil {
		return "", nil
	}
	needs, err := f.DynamicVersionNeeds()
	if err != nil {
		return "", damaged(err)
	}
	floor := ""
	for _, library := range needs {
		for _, need := range library.Needs {
			version, found := strings.CutPrefix(need.Dep, "GLIBC_")
			// The loader only warns of a missing weak version.
			if !found || need.Flags&elf.VER_FLG_WEAK != 0 {
				continue
			}
			if version == "ABI_DT_RELR" { // marks packed relocations
				version = "2.36"
			}
			// GLIBC_PRIVATE and other marks are not versions.
			if _, err := parseVersion(version); err != nil {
				continue
			}
			if CompareVersions(version, floor) > 0 {
				floor = version
			}
		}
	}
	return floor, nil
}
