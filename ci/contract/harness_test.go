package contract

import (
	"bytes"
	"context"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/published"
	"dagger/gantry/ci/release/dist"
	"dagger/gantry/ci/release/plan"
	"dagger/gantry/ci/target"
	"dagger/gantry/ci/version"
)

// table is a TOML table, as cargo metadata gives it.
type table = map[string]any

// project is a source: what cargo and git say of it, and the tag to release.
type project struct {
	workspace table
	packages  []table
	files     []string
	git       plan.Git
	tag       string
}

const head = "0123456789abcdef0123456789abcdef01234567"

// crate is a package of a workspace, with binaries.
func crate(name, number, dir string, gantry table, bins ...string) table {
	var targets []table
	for _, b := range bins {
		targets = append(targets, table{"name": b, "kind": []string{"bin"}})
	}
	return table{
		"id": "path+file:///src/" + dir + "#" + name + "@" + number, "name": name, "version": number,
		"manifest_path": filepath.Join("/src", dir, "Cargo.toml"), "targets": targets, "license": "MIT",
		"repository": "https://github.com/acme/app", "metadata": table{"gantry": gantry},
	}
}

// single is a project of one package with one binary, which can be released.
func single() *project {
	return &project{
		workspace: table{"targets": []string{"x86_64-unknown-linux-gnu", "x86_64-unknown-linux-musl", "x86_64-pc-windows-gnu"}},
		packages:  []table{crate("app", "1.0.0", ".", table{}, "app")},
		files:     []string{"Cargo.toml", "Cargo.lock", "LICENSE", "README.md", "config/app.toml", "src/main.rs"},
		git:       plan.Git{Present: true, Commit: head, Time: time.Unix(1700000000, 0)},
		tag:       "v1.0.0",
	}
}

// config returns the gantry table of the first package.
func (p *project) config() table { return p.packages[0]["metadata"].(table)["gantry"].(table) }

// image returns the table of its image.
func (p *project) image() table {
	if _, ok := p.config()["image"]; !ok {
		p.config()["image"] = table{}
	}
	return p.config()["image"].(table)
}

// tagged adds a tag of an older commit.
func (p *project) tagged(name string) {
	tag := version.GitTag{Name: name, Commit: strings.Repeat("f", 40)}
	p.git.Tags, p.git.Reachable = append(p.git.Tags, tag), append(p.git.Reachable, tag)
}

// plan loads and plans.
func (p *project) plan() (*plan.Plan, error) {
	loaded, err := p.load()
	if err != nil {
		return nil, err
	}
	return loaded.Plan(p.tag, p.git, nil)
}

// load reads what cargo says of the project.
func (p *project) load() (*plan.Project, error) {
	var members []any
	for _, pkg := range p.packages {
		members = append(members, pkg["id"])
	}
	raw, err := json.Marshal(table{
		"packages": p.packages, "workspace_members": members, "workspace_root": "/src", "metadata": table{"gantry": p.workspace},
	})
	if err != nil {
		return nil, err
	}
	return plan.Load(raw, "/src", p.files)
}

// released is what became of a plan.
type released struct {
	warnings []string // of packing
	manifest *manifest.Manifest
	image    *oci.Image // nil where the plan has none, or warned of it
}

// pack packs and merges the binaries of a plan, which are made up, in a directory.
// It returns the directory with the files of the release.
func pack(ctx context.Context, dir string, p *plan.Plan, made func(target.Target, string) []byte, warn func(string)) (string, *manifest.Manifest, error) {
	builds, err := p.Builds()
	if err != nil {
		return "", nil, err
	}
	write := func(file string, content []byte) error {
		file = filepath.Join(dir, file)
		return errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, content, 0o644))
	}
	var built []dist.Target
	for _, b := range builds {
		var files []string
		for _, bin := range b.Bins {
			file := filepath.Join("bin", b.Target.Triple, bin.Name)
			if err := write(file, made(b.Target, bin.Name)); err != nil {
				return "", nil, err
			}
			files = append(files, filepath.Join(dir, file))
		}
		built = append(built, dist.NewTarget(b, files))
	}
	in, err := dist.NewInput(p, manifest.Toolchain{Rustc: "rustc 1.96.0", Cargo: "cargo 1.96.0"}, built)
	if err != nil {
		return "", nil, err
	}
	for i := range in.Targets {
		in.Targets[i].SBOM, in.Targets[i].SPDX, in.Targets[i].Notices = "", "", false // what they are made of is Cargo's
	}
	in.ExtraDir, in.Changelog = filepath.Join(dir, "source"), filepath.Join(dir, "log.md")
	for _, e := range p.Extra {
		if err := write(filepath.Join("source", filepath.FromSlash(e.Source)), []byte(e.Source)); err != nil {
			return "", nil, err
		}
	}
	if err := write("log.md", []byte("# Changelog\n")); err != nil {
		return "", nil, err
	}
	packed, merged := filepath.Join(dir, "packed"), filepath.Join(dir, "merged")
	if err := errors.Join(os.MkdirAll(packed, 0o755), os.MkdirAll(merged, 0o755)); err != nil {
		return "", nil, err
	}
	if _, err := dist.Assemble(packed, in, warn); err != nil {
		return "", nil, fmt.Errorf("pack: %w", err)
	}
	m, err := dist.Merge(ctx, packed, merged)
	if err != nil {
		return "", nil, fmt.Errorf("merge: %w", err)
	}
	return merged, m, nil
}

// release does what follows a plan without errors: it packs binaries that are
// made up, merges, reads the release as phase 2 does and assembles its image on
// made-up base images. Dynamic says how gnu binaries are linked.
func release(ctx context.Context, dir string, p *plan.Plan, dynamic bool) (out *released, err error) {
	out = &released{}
	made := func(t target.Target, bin string) []byte { return program(t, dynamic, bin) }
	merged, m, err := pack(ctx, dir, p, made, func(w string) { out.warnings = append(out.warnings, w) })
	if err != nil {
		return nil, err
	}
	if err := compare(p, m); err != nil {
		return nil, err
	}
	r, err := published.Load(ctx, published.Dir(merged))
	if err != nil {
		return nil, fmt.Errorf("read the release: %w", err)
	}
	if err := dist.CheckImage(m); err != nil {
		return nil, err
	}
	out.manifest = r.Manifest
	if m.Image == nil && (p.ContainerImage == nil || warned(p, "only images need this")) {
		return out, nil
	}
	if p.ContainerImage == nil {
		return nil, errors.New("an image is configured, and the plan shows none")
	}
	for _, address := range p.ContainerImage.Repositories {
		if _, err := oci.NewRepository(address, oci.RegistryOptions{}); err != nil {
			return nil, err
		}
	}
	if out.image, err = oci.Assemble(ctx, r, oci.AssembleOptions{Bases: madeUp{}, Dir: dir}); err != nil {
		return nil, fmt.Errorf("assemble: %w", err)
	}
	defer func() { err = errors.Join(err, out.image.Close()) }()
	return out, sameImage(p, out.image)
}

// compare makes sure that the release has what the plan promised.
func compare(p *plan.Plan, m *manifest.Manifest) error {
	var have []string
	for _, a := range m.Assets {
		have = append(have, a.Name)
	}
	for _, name := range p.Assets {
		if !slices.Contains(have, name) && name != manifest.FileName && name != manifest.SumsName && !strings.HasSuffix(name, ".cdx.json") && !strings.HasSuffix(name, ".spdx.json") {
			return fmt.Errorf("the plan promised %q, and the release has %q", name, have)
		}
	}
	if p.Version != m.Version || p.Tag != m.Tag || p.Repository != m.Repository {
		return fmt.Errorf("the plan is of %s %s %s, and the release of %s %s %s", p.Tag, p.Version, p.Repository, m.Tag, m.Version, m.Repository)
	}
	return nil
}

// sameImage makes sure that the image is the one that the plan showed, and that
// its program is in it.
func sameImage(p *plan.Plan, image *oci.Image) error {
	if err := validate.Index(image.Index, validate.Fast); err != nil {
		return err
	}
	var have, want []string
	for _, platform := range image.Platforms {
		have = append(have, platform.Platform)
		config, err := platform.Image.ConfigFile()
		if err != nil {
			return err
		}
		if got := config.Config.Entrypoint; !slices.Equal(got, p.ContainerImage.Entrypoint) {
			return fmt.Errorf("the plan showed the entrypoint %q, and the image of %s has %q", p.ContainerImage.Entrypoint, platform.Platform, got)
		}
		if config.Config.User != p.ContainerImage.User {
			return fmt.Errorf("the plan showed the user %q, and the image has %q", p.ContainerImage.User, config.Config.User)
		}
	}
	for _, platform := range p.ContainerImage.Platforms {
		want = append(want, platform.Platform)
	}
	if !slices.Equal(have, want) {
		return fmt.Errorf("the plan showed the platforms %q, and the image has %q", want, have)
	}
	return nil
}

func warned(p *plan.Plan, text string) bool {
	return slices.ContainsFunc(p.Problems, func(problem plan.Problem) bool {
		return problem.Severity == plan.SeverityWarning && strings.Contains(problem.Message, text)
	})
}

// madeUp finds every base image that a registry could have, for every platform;
// the default ones only for their own.
type madeUp struct{}

// Base returns an image without layers.
func (madeUp) Base(_ context.Context, ref, platform string) (oci.Base, error) {
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return oci.Base{}, err
	}
	p, err := v1.ParsePlatform(platform)
	if err != nil {
		return oci.Base{}, err
	}
	if (ref == imagespec.StaticBase || ref == imagespec.GlibcBase) && !slices.Contains([]string{"amd64", "arm64", "arm", "s390x", "ppc64le"}, p.Architecture) {
		return oci.Base{}, fmt.Errorf("%w: %q has no platform %q", imagespec.ErrBase, ref, platform)
	}
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant})
	if err != nil {
		return oci.Base{}, err
	}
	digest, err := image.Digest()
	return oci.Base{Name: parsed.Context().Name(), Digest: digest, Image: image}, err
}

// program is an executable of a target, as far as headers go.
func program(t target.Target, dynamic bool, salt string) []byte {
	var out bytes.Buffer
	put := func(order binary.ByteOrder, values ...any) {
		for _, v := range values {
			_ = binary.Write(&out, order, v) // a buffer takes everything
		}
	}
	switch t.Format {
	case "pe":
		dos := make([]byte, 96)
		copy(dos, "MZ")
		binary.LittleEndian.PutUint32(dos[0x3c:], 96)
		out.Write(dos)
		out.WriteString("PE\x00\x00")
		optional := pe.OptionalHeader64{Magic: 0x20b, NumberOfRvaAndSizes: 16}
		put(binary.LittleEndian, pe.FileHeader{
			Machine:              map[string]uint16{"x86_64": pe.IMAGE_FILE_MACHINE_AMD64, "aarch64": pe.IMAGE_FILE_MACHINE_ARM64, "i686": pe.IMAGE_FILE_MACHINE_I386}[t.Arch],
			SizeOfOptionalHeader: uint16(binary.Size(optional)), Characteristics: pe.IMAGE_FILE_EXECUTABLE_IMAGE,
		}, optional)
	case "macho":
		machoProgram(put, t)
	case "wasm":
		out.WriteString("\x00asm\x01\x00\x00\x00\x07\x0a\x01\x06_start\x00\x00") // a section of one export
		out.Write([]byte{0, byte(len(salt))})                                    // a custom section
	default:
		elfProgram(put, &out, t, dynamic && t.Libc == "gnu")
	}
	out.WriteString(salt)
	return out.Bytes()
}

// machoProgram writes a program, or both programs of a universal file.
func machoProgram(put func(binary.ByteOrder, ...any), t target.Target) {
	cpus := map[string][]macho.Cpu{"x86_64": {macho.CpuAmd64}, "aarch64": {macho.CpuArm64}, "universal2": {macho.CpuAmd64, macho.CpuArm64}}[t.Arch]
	if len(cpus) > 1 {
		put(binary.BigEndian, macho.MagicFat, uint32(len(cpus)))
		for i, cpu := range cpus {
			put(binary.BigEndian, macho.FatArchHeader{Cpu: cpu, Offset: uint32(8 + len(cpus)*20 + i*32), Size: 32})
		}
	}
	for _, cpu := range cpus {
		put(binary.LittleEndian, macho.FileHeader{Magic: macho.Magic64, Cpu: cpu, Type: macho.TypeExec}, uint32(0))
	}
}

var machines = map[string]struct {
	machine elf.Machine
	loader  string
}{
	"x86_64": {elf.EM_X86_64, "/lib64/ld-linux-x86-64.so.2"}, "aarch64": {elf.EM_AARCH64, "/lib/ld-linux-aarch64.so.1"},
	"armv7": {elf.EM_ARM, "/lib/ld-linux-armhf.so.3"}, "i686": {elf.EM_386, "/lib/ld-linux.so.2"},
	"riscv64gc": {elf.EM_RISCV, "/lib/ld-linux-riscv64-lp64d.so.1"}, "s390x": {elf.EM_S390, "/lib/ld64.so.1"},
	"powerpc64le": {elf.EM_PPC64, "/lib64/ld64.so.2"}, "arm": {elf.EM_ARM, ""}, "loongarch64": {elf.EM_LOONGARCH, ""},
}

func elfProgram(put func(binary.ByteOrder, ...any), out *bytes.Buffer, t target.Target, dynamic bool) {
	m := machines[t.Arch]
	ident := [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1}
	var order binary.ByteOrder = binary.LittleEndian
	if t.Arch == "s390x" {
		ident[5], order = byte(elf.ELFDATA2MSB), binary.BigEndian
	}
	headers := uint16(0)
	if dynamic {
		headers = 1
	}
	size := uint64(len(m.loader) + 1)
	if t.Arch == "armv7" || t.Arch == "arm" || t.Arch == "i686" {
		ident[4] = byte(elf.ELFCLASS32)
		put(order, elf.Header32{Ident: ident, Type: uint16(elf.ET_EXEC), Machine: uint16(m.machine), Version: 1, Entry: 1, Phoff: 52, Ehsize: 52, Phentsize: 32, Phnum: headers, Shentsize: 40})
		if dynamic {
			put(order, elf.Prog32{Type: uint32(elf.PT_INTERP), Off: 84, Filesz: uint32(size), Memsz: uint32(size)})
		}
	} else {
		put(order, elf.Header64{Ident: ident, Type: uint16(elf.ET_EXEC), Machine: uint16(m.machine), Version: 1, Entry: 1, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: headers, Shentsize: 64})
		if dynamic {
			put(order, elf.Prog64{Type: uint32(elf.PT_INTERP), Off: 120, Filesz: size, Memsz: size})
		}
	}
	if dynamic {
		out.WriteString(m.loader + "\x00")
	}
}
