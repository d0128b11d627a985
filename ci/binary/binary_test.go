package binary

import (
	"bytes"
	"debug/elf"
	"debug/macho"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func inspect(t *testing.T, file string) Facts {
	t.Helper()
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	info, err := f.Stat()
	require.NoError(t, err)
	facts, err := Inspect(f, info.Size())
	require.NoError(t, err)
	return facts
}

func run(t *testing.T, env []string, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s: %s", name, out)
}

func goBuild(t *testing.T, env ...string) string {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	require.NoError(t, os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o644))
	file := filepath.Join(dir, "program")
	run(t, append(env, "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off"), "go", "build", "-ldflags=-s -w", "-o", file, source)
	return file
}

func gcc(t *testing.T, source string, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	c := filepath.Join(dir, "main.c")
	require.NoError(t, os.WriteFile(c, []byte(source), 0o644))
	file := filepath.Join(dir, "program")
	run(t, nil, "gcc", append([]string{"-o", file, c}, args...)...)
	return file
}

// One for each format that the linker of Go writes.
func TestInspectCrossCompiledPrograms(t *testing.T) {
	for name, test := range map[string]struct {
		env  []string
		want Facts
	}{
		"ELF": {
			[]string{"GOOS=linux", "GOARCH=s390x"},
			Facts{
				Format: ELF, Arch: "s390x", Arches: []string{"s390x"},
				Linkage: Static, Executable: true,
			},
		},
		"PE": {
			[]string{"GOOS=windows", "GOARCH=386"},
			Facts{
				Format: PE, Arch: "i686", Arches: []string{"i686"},
				Linkage: Dynamic, Needed: []string{"kernel32.dll"}, Executable: true,
			},
		},
		"Mach-O": {
			[]string{"GOOS=darwin", "GOARCH=arm64"},
			Facts{
				Format: MachO, Arch: "aarch64", Arches: []string{"aarch64"},
				Linkage: Dynamic, Executable: true,
				Needed: []string{"/usr/lib/libSystem.B.dylib", "/usr/lib/libresolv.9.dylib"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			facts := inspect(t, goBuild(t, test.env...))
			// What Go's runtime loads is its own affair.
			if len(test.want.Needed) > 0 {
				assert.Contains(t, facts.Needed, test.want.Needed[0])
				facts.Needed = test.want.Needed
			}
			assert.Equal(t, test.want, facts)
		})
	}
}

func host(t *testing.T) string {
	t.Helper()
	arch, known := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	require.True(t, known, "add %s to the test", runtime.GOARCH)
	return arch
}

func TestInspectGlibcPrograms(t *testing.T) {
	const empty = "int main(void) { return 0; }"
	want := Facts{Format: ELF, Arch: host(t), Arches: []string{host(t)}, Executable: true}

	t.Run("dynamic", func(t *testing.T) {
		facts := inspect(t, gcc(t, empty))
		assert.Regexp(t, `^/lib(64)?/ld-linux-`, facts.Interpreter)
		assert.Equal(t, Dynamic, facts.Linkage)
		assert.Equal(t, []string{"libc.so.6"}, facts.Needed)
		assert.NoError(t, ParseGlibc(facts.GlibcFloor))
		assert.True(t, facts.Executable)
	})
	t.Run("floor", func(t *testing.T) {
		// getrandom is 2.25; __libc_start_main is 2.34 with a newer glibc, and
		// so is left out, as is everything else of the start files.
		facts := inspect(t, gcc(t, "#include <sys/random.h>\nint _start(void) { return getrandom(0, 0, 0); }", "-nostartfiles"))
		assert.Equal(t, "2.25", facts.GlibcFloor)
	})
	t.Run("static", func(t *testing.T) {
		want.Linkage = Static
		assert.Equal(t, want, inspect(t, gcc(t, empty, "-static")))
	})
	t.Run("static-pie", func(t *testing.T) {
		want.Linkage = Static
		assert.Equal(t, want, inspect(t, gcc(t, empty, "-static-pie")))
	})
	t.Run("shared library", func(t *testing.T) {
		facts := inspect(t, gcc(t, "int f(void) { return 0; }", "-shared", "-fPIC"))
		assert.False(t, facts.Executable)
		facts = inspect(t, gcc(t, "int f(void) { return 0; }", "-shared", "-fPIC", "-Wl,-e,f"))
		assert.False(t, facts.Executable, "an entry point makes no program")
	})
	t.Run("object file", func(t *testing.T) {
		assert.False(t, inspect(t, gcc(t, empty, "-c")).Executable)
	})
	t.Run("without section headers", func(t *testing.T) {
		data, err := os.ReadFile(gcc(t, empty))
		require.NoError(t, err)
		binary.LittleEndian.PutUint64(data[0x28:], 0)             // e_shoff
		copy(data[0x3a:], []byte{0, 0, 0, 0, 0, 0})               // sizes and number
		_, err = Inspect(bytes.NewReader(data), int64(len(data))) // to read it as static would be wrong
		assert.ErrorContains(t, err, "has no section headers")
	})
}

// header makes an ELF file of a header alone, with the sections given.
func header(machine elf.Machine, class elf.Class, data elf.Data) []byte {
	var order binary.AppendByteOrder = binary.LittleEndian
	if data == elf.ELFDATA2MSB {
		order = binary.BigEndian
	}
	ident := [16]byte{0x7f, 'E', 'L', 'F', byte(class), byte(data), byte(elf.EV_CURRENT)}
	out := ident[:]
	out = order.AppendUint16(out, uint16(elf.ET_EXEC))
	out = order.AppendUint16(out, uint16(machine))
	out = order.AppendUint32(out, uint32(elf.EV_CURRENT))
	if class == elf.ELFCLASS64 {
		out = order.AppendUint64(out, 1)       // entry
		out = append(out, make([]byte, 16)...) // no tables
		out = order.AppendUint32(out, 0)
		out = order.AppendUint16(out, 64)
	} else {
		out = order.AppendUint32(out, 1)
		out = append(out, make([]byte, 8)...)
		out = order.AppendUint32(out, 0)
		out = order.AppendUint16(out, 52)
	}
	return append(out, make([]byte, 10)...)
}

// armFile is a header with build attributes.
func armFile(attributes []byte) []byte {
	var le = binary.LittleEndian
	out := header(elf.EM_ARM, elf.ELFCLASS32, elf.ELFDATA2LSB)
	file := le.AppendUint32([]byte{tagFile}, uint32(5+len(attributes)))
	file = append(file, attributes...)
	vendor := append([]byte("aeabi\x00"), file...)
	section := le.AppendUint32([]byte{'A'}, uint32(4+len(vendor)))
	section = append(section, vendor...)
	names := []byte("\x00.ARM.attributes\x00.shstrtab\x00")

	at := len(out)
	out = append(out, section...)
	namesAt := len(out)
	out = append(out, names...)
	table := len(out)
	for _, s := range []elf.Section32{
		{},
		{Name: 1, Type: uint32(armAttributes), Off: uint32(at), Size: uint32(len(section))},
		{Name: 17, Type: uint32(elf.SHT_STRTAB), Off: uint32(namesAt), Size: uint32(len(names))},
	} {
		out, _ = binary.Append(out, le, s)
	}
	le.PutUint32(out[0x20:], uint32(table))
	le.PutUint16(out[0x2e:], 40) // size, number, index of names
	le.PutUint16(out[0x30:], 3)
	le.PutUint16(out[0x32:], 2)
	return out
}

func TestArchitecturesOfELF(t *testing.T) {
	const (
		b32, b64    = elf.ELFCLASS32, elf.ELFCLASS64
		little, big = elf.ELFDATA2LSB, elf.ELFDATA2MSB
	)
	for _, test := range []struct {
		file []byte
		want string
	}{
		{header(elf.EM_X86_64, b64, little), "x86_64"},
		{header(elf.EM_386, b32, little), "i686"},
		{header(elf.EM_AARCH64, b64, little), "aarch64"},
		{header(elf.EM_AARCH64, b64, big), "aarch64_be"},
		{header(elf.EM_RISCV, b64, little), "riscv64gc"},
		{header(elf.EM_RISCV, b32, little), "riscv32gc"},
		{header(elf.EM_S390, b64, big), "s390x"},
		{header(elf.EM_PPC64, b64, little), "powerpc64le"},
		{header(elf.EM_PPC64, b64, big), "powerpc64"},
		{header(elf.EM_PPC, b32, big), "powerpc"},
		{header(elf.EM_LOONGARCH, b64, little), "loongarch64"},
		{header(elf.EM_MIPS, b32, big), "mips"},
		{header(elf.EM_MIPS, b64, little), "mips64el"},
		{header(elf.EM_SPARCV9, b64, big), "sparc64"},
		{header(elf.EM_AVR, b32, little), "machine-83"},
		{header(elf.EM_ARM, b32, little), "arm"},
		{armFile([]byte("\x05ARM v7\x00\x06\x0a\x08\x01")), "armv7"}, // the name first
		{armFile([]byte{tagCPUArch, 14}), "armv7"},
		{armFile([]byte{tagCPUArch, 6}), "arm"},
		{armFile([]byte{tagCPUArch, archV6M}), "arm"},
		{armFile([]byte{8, 1, 9, 2}), "arm"},
		{armFile([]byte("\x05no end")), "arm"},
	} {
		facts, err := Inspect(bytes.NewReader(test.file), int64(len(test.file)))
		require.NoError(t, err, test.want)
		assert.Equal(t, test.want, facts.Arch)
		assert.True(t, facts.Executable, test.want)
		assert.Equal(t, Static, facts.Linkage, test.want)
	}
}

// fatFile makes a Mach-O file of a bare program for each architecture.
func fatFile(cpus ...macho.Cpu) []byte {
	const align = 64
	out := binary.BigEndian.AppendUint32(nil, macho.MagicFat)
	out = binary.BigEndian.AppendUint32(out, uint32(len(cpus)))
	start := (len(out)+20*len(cpus))/align*align + align
	for i, cpu := range cpus {
		out, _ = binary.Append(out, binary.BigEndian, macho.FatArchHeader{
			Cpu: cpu, SubCpu: uint32(i), Offset: uint32(start + i*align), Size: 32, Align: 6,
		})
	}
	for i, cpu := range cpus {
		out = append(out, make([]byte, start+i*align-len(out))...)
		out, _ = binary.Append(out, binary.LittleEndian, macho.FileHeader{
			Magic: macho.Magic64, Cpu: cpu, SubCpu: uint32(i), Type: macho.TypeExec,
		})
		out = append(out, make([]byte, 4)...)
	}
	return out
}

func TestInspectFatPrograms(t *testing.T) {
	inspect := func(cpus ...macho.Cpu) Facts {
		data := fatFile(cpus...)
		facts, err := Inspect(bytes.NewReader(data), int64(len(data)))
		require.NoError(t, err)
		return facts
	}
	assert.Equal(t, Facts{
		Format: MachO, Arch: "universal2", Arches: []string{"x86_64", "aarch64"},
		Linkage: Static, Executable: true,
	}, inspect(macho.CpuAmd64, macho.CpuArm64))
	assert.Equal(t, "aarch64", inspect(macho.CpuArm64).Arch)
	assert.Equal(t, "universal", inspect(macho.CpuArm64, macho.CpuPpc64).Arch)
}

func TestInspectRefuses(t *testing.T) {
	for name, data := range map[string]string{
		"nothing":      "",
		"short":        "\x7fEL",
		"script":       "#!/bin/sh\nexec true\n",
		"page":         "<!DOCTYPE html>",
		"Java class":   "\xca\xfe\xba\xbe\x00\x00\x00\x41\x00\x10",
		"cut-off ELF":  "\x7fELF\x02\x01\x01",
		"cut-off PE":   "MZ\x90\x00",
		"cut-off Mach": "\xcf\xfa\xed\xfe\x07",
	} {
		_, err := Inspect(bytes.NewReader([]byte(data)), int64(len(data)))
		assert.ErrorIs(t, err, ErrFormat, name)
		assert.ErrorContains(t, err, "inspect binary: ", name)
	}
	_, err := Inspect(bytes.NewReader(nil), MaxSize+1)
	assert.ErrorContains(t, err, "strip it")
}

func TestInspectRecoversFromPanics(t *testing.T) {
	_, err := Inspect(panicking{}, 100)
	assert.ErrorIs(t, err, ErrFormat)
}

type panicking struct{}

func (panicking) ReadAt([]byte, int64) (int, error) { panic("parser") }

// No bytes make Inspect panic, and what it returns is complete.
func FuzzInspect(f *testing.F) {
	f.Add(header(elf.EM_X86_64, elf.ELFCLASS64, elf.ELFDATA2LSB))
	f.Add(armFile([]byte("\x05ARM v7\x00\x06\x0a\x08\x01")))
	f.Add(fatFile(macho.CpuAmd64, macho.CpuArm64))
	f.Add([]byte("MZ\x90\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		facts, err := Inspect(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			require.Equal(t, Facts{}, facts)
			return
		}
		require.Contains(t, []Format{ELF, PE, MachO, WASM}, facts.Format)
		require.NotEmpty(t, facts.Arches)
		require.NotEmpty(t, facts.Arch)
		require.Contains(t, []Linkage{Static, Dynamic}, facts.Linkage)
		Check(facts, Requirements{Binary: "fuzz", Target: "x86_64-unknown-linux-gnu", OS: "linux", Libc: "gnu", MaxGlibc: "2.17"})
	})
}
