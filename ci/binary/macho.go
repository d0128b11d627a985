package binary

import (
	"debug/macho"
	"fmt"
	"io"
	"slices"
)

func inspectMachO(r *io.SectionReader) (Facts, error) {
	f, err := macho.NewFile(r)
	if err != nil {
		return Facts{}, damaged(err)
	}
	return machoFacts(f)
}

// inspectFat reads a file with several programs, and joins their linkages and
// libraries.
func inspectFat(r *io.SectionReader) (Facts, error) {
	fat, err := macho.NewFatFile(r)
	if err != nil {
		return Facts{}, damaged(err)
	}
	var all Facts
	for i, arch := range fat.Arches {
		facts, err := machoFacts(arch.File)
		if err != nil {
			return Facts{}, err
		}
		if i == 0 {
			all = facts
			continue
		}
		all.Arches = append(all.Arches, facts.Arch)
		all.Executable = all.Executable && facts.Executable
		if facts.Linkage == Dynamic {
			all.Linkage = Dynamic
		}
		for _, library := range facts.Needed {
			if !slices.Contains(all.Needed, library) {
				all.Needed = append(all.Needed, library)
			}
		}
	}
	if len(all.Arches) > 1 {
		all.Arch = "universal"
		if len(all.Arches) == 2 && slices.Contains(all.Arches, "x86_64") && slices.Contains(all.Arches, "aarch64") {
			all.Arch = "universal2"
		}
	}
	return all, nil
}

func machoFacts(f *macho.File) (Facts, error) {
	facts := Facts{Format: MachO, Arch: machoArch(f.Cpu), Linkage: Static}
	facts.Arches = []string{facts.Arch}
	var err error
	if facts.Needed, err = f.ImportedLibraries(); err != nil {
		return Facts{}, damaged(err)
	}
	if len(facts.Needed) > 0 {
		facts.Linkage = Dynamic
	}
	facts.Executable = f.Type == macho.TypeExec
	return facts, nil
}

func machoArch(cpu macho.Cpu) string {
	switch cpu {
	case macho.CpuAmd64:
		return "x86_64"
	case macho.CpuArm64:
		return "aarch64"
	case macho.Cpu386:
		return "i686"
	case macho.CpuArm:
		return "armv7"
	case macho.CpuPpc64:
		return "powerpc64"
	case macho.CpuPpc:
		return "powerpc"
	default:
		return fmt.Sprintf("machine-%d", uint32(cpu))
	}
}
