package binary

import (
	"debug/pe"
	"fmt"
	"io"
	"slices"
	"strings"
)

func inspectPE(r *io.SectionReader) (Facts, error) {
	f, err := pe.NewFile(r)
	if err != nil {
		return Facts{}, damaged(err)
	}
	facts := Facts{Format: PE, Arch: peArch(f.Machine), Linkage: Static}
	facts.Arches = []string{facts.Arch}
	if f.OptionalHeader != nil {
		// File.ImportedLibraries is a stub that returns nothing.
		symbols, err := f.ImportedSymbols()
		if err != nil {
			return Facts{}, damaged(err)
		}
		for _, symbol := range symbols {
			_, library, _ := strings.Cut(symbol, ":")
			if library != "" && !slices.Contains(facts.Needed, library) {
				facts.Needed = append(facts.Needed, library)
			}
		}
	}
	if len(facts.Needed) > 0 {
		facts.Linkage = Dynamic
	}
	facts.Executable = f.OptionalHeader != nil &&
		f.Characteristics&pe.IMAGE_FILE_EXECUTABLE_IMAGE != 0 &&
		f.Characteristics&pe.IMAGE_FILE_DLL == 0
	return facts, nil
}

func peArch(machine uint16) string {
	switch machine {
	case pe.IMAGE_FILE_MACHINE_AMD64:
		return "x86_64"
	case pe.IMAGE_FILE_MACHINE_I386:
		return "i686"
	case pe.IMAGE_FILE_MACHINE_ARM64:
		return "aarch64"
	case pe.IMAGE_FILE_MACHINE_ARMNT:
		return "thumbv7a"
	default:
		return fmt.Sprintf("machine-%d", machine)
	}
}
