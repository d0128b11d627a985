package main

import (
	"bytes"
	"context"
	"debug/elf"
	encoding "encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"dagger/gantry/ci/binary"
	"dagger/gantry/ci/release/cargo"
	"dagger/gantry/ci/release/changelog/sections"
	"dagger/gantry/ci/release/dist"
	"dagger/gantry/ci/release/plan"
	"dagger/gantry/ci/version"
)

// table is a table of Cargo.toml or of cargo metadata.
type table = map[string]any

// metadataOf returns what cargo metadata prints of a workspace of packages.
func metadataOf(packages []table) ([]byte, error) {
	var members []any
	for _, p := range packages {
		members = append(members, p["id"])
	}
	return json.Marshal(table{
		"packages": packages, "workspace_members": members, "workspace_root": "/src",
		"metadata": table{"gantry": table{"targets": []string{"x86_64-unknown-linux-gnu", "x86_64-unknown-linux-musl"}, "include": []string{"docs/**/*.md"}}},
	})
}

// packageOf describes a package in a directory of the workspace, with some binaries.
func packageOf(name, dir string, dependencies []table, bins ...string) table {
	targets := []table{{"name": strings.ReplaceAll(name, "-", "_"), "kind": []string{"lib"}}}
	for _, b := range bins {
		targets = append(targets, table{"name": b, "kind": []string{"bin"}})
	}
	return table{
		"id": "path+file:///src/" + dir + "#" + name + "@1.0.0", "name": name, "version": "1.0.0", "license": "MIT",
		"manifest_path": filepath.Join("/src", dir, "Cargo.toml"), "targets": targets, "dependencies": dependencies,
		"repository": "https://github.com/" + slug, "metadata": table{},
	}
}

// planned plans the release v1.0.0 of a workspace.
func planned(packages []table, files []string, tags []version.GitTag) (*plan.Plan, error) {
	raw, err := metadataOf(packages)
	if err != nil {
		return nil, err
	}
	p, err := plan.Load(raw, "/src", files)
	if err != nil {
		return nil, err
	}
	var members []string
	for _, p := range packages {
		members = append(members, p["name"].(string))
	}
	p.Lock = lockOf(members, len(packages))
	git := plan.Git{Present: true, Commit: commit, Time: time.Unix(1700000000, 0), Tags: tags, Reachable: tags}
	made, err := p.Plan("v1.0.0", git, nil)
	if err != nil {
		return nil, err
	}
	return made, made.Err()
}

// sourceFiles are n files of a source with a readme, a license and some documentation,
// sorted as those that a source is inspected for.
func sourceFiles(n int) []string {
	files, last := []string{"Cargo.lock", "Cargo.toml", "LICENSE", "README.md"}, []string{"docs/guide.md", "src/main.rs"}
	for i := range n - len(files) - len(last) {
		files = append(files, fmt.Sprintf("assets/%04d/file-%06d.txt", i/100, i))
	}
	return append(files, last...)
}

// planFiles plans a source with n files, whose names are known.
func planFiles(_ context.Context, j job) (done, error) {
	_, err := planned([]table{packageOf(repository, ".", nil, repository)}, sourceFiles(j.N), nil)
	return done{}, err
}

// planTags plans a release after n others, whose tags are known.
func planTags(_ context.Context, j job) (done, error) {
	var tags []version.GitTag
	for i := range j.N {
		tags = append(tags, version.GitTag{Name: "v" + past(i), Commit: fmt.Sprintf("%040x", i)})
	}
	p, err := planned([]table{packageOf(repository, ".", nil, repository)}, sourceFiles(10), tags)
	if err == nil && len(p.Sections) != j.N+1 {
		err = fmt.Errorf("the changelog has %d sections, not %d", len(p.Sections), j.N+1)
	}
	return done{}, err
}

// planCrates plans a workspace of n members. Each depends on the one before, has its
// own readme and license, and every tenth has a binary.
func planCrates(_ context.Context, j job) (done, error) {
	files := sourceFiles(10)
	var packages []table
	for i := range j.N {
		name, dir := fmt.Sprintf("crate-%04d", i), fmt.Sprintf("crates/crate-%04d", i)
		files = append(files, dir+"/Cargo.toml", dir+"/src/lib.rs", dir+"/LICENSE", dir+"/README.md")
		var bins []string
		if i%10 == 0 {
			bins = []string{name}
		}
		var dependencies []table
		if i > 0 {
			before := fmt.Sprintf("crate-%04d", i-1)
			dependencies = []table{{"name": before, "path": "/src/crates/" + before}}
		}
		packages = append(packages, packageOf(name, dir, dependencies, bins...))
	}
	p, err := planned(packages, files, nil)
	if err == nil && len(p.Targets[0].Binaries) != (j.N+9)/10 {
		err = fmt.Errorf("the plan has %d binaries", len(p.Targets[0].Binaries))
	}
	return done{}, err
}

// writeHistory writes what git and git-cliff print of n commits, with as many releases as
// the history in git has.
func writeHistory(_ context.Context, w *world) error {
	id := func(i int) string { return fmt.Sprintf("%040x", i+1) }
	var log, commits strings.Builder
	for i := w.N - 1; i >= 0; i-- {
		fmt.Fprintf(&log, "%d %s", 1700000000+60*i, id(i))
		if i > 0 {
			log.WriteString(" " + id(i-1))
		}
		log.WriteString("\n")
		person := fmt.Sprintf(`{"name":"scale","email":"scale@example.com","timestamp":%d}`, 1700000000+60*i)
		message := fmt.Sprintf("feat(part-%d): change number %d of the history", i%7, i)
		fmt.Fprintf(&commits, `{"id":%q,"message":%q,"body":null,"footers":[],"group":null,"breaking_description":null,"breaking":false,"scope":null,`+
			`"links":[],"author":%s,"committer":%s,"conventional":false,"merge_commit":false,"extra":null,"remote":null,`+
			`"github":{"username":null,"pr_title":null,"pr_number":null,"pr_labels":[],"is_first_time":false},"raw_message":%q}`, id(i), message, person, person, message)
		if i > 0 {
			commits.WriteString(",")
		}
	}
	j := sections.Job{Tag: "v1.0.0"}
	for i := range pastTags {
		j.Releases = append(j.Releases, sections.Release{Tag: fmt.Sprintf("v0.%d.0", i+1), Version: fmt.Sprintf("0.%d.0", i+1), Commit: id((i+1)*w.N/(pastTags+1) - 1)})
	}
	j.Releases = append(j.Releases, sections.Release{Tag: "v1.0.0", Version: "1.0.0", Commit: id(w.N - 1)})
	text, err := json.Marshal(j)
	return errors.Join(err, writeFiles(filepath.Join(w.Dir, "history"), map[string]string{
		sections.JobFile: string(text), sections.ConfigFile: "[git]\n", sections.HistoryDir + "/commits": log.String(), sections.HistoryDir + "/tags": "",
		sections.CommitsFile: `[{"version":null,"repository":"/r","commits":[` + commits.String() + `]}]`,
	}))
}

// divideHistory divides a history into sections.
func divideHistory(_ context.Context, j job) (done, error) {
	out := filepath.Join(j.Dir, "sections")
	if err := sections.Main(filepath.Join(j.Dir, "history"), out); err != nil {
		return done{}, err
	}
	info, err := os.Stat(filepath.Join(out, sections.ChangelogFile))
	if err == nil && info.Size() < 500*int64(j.N) {
		err = fmt.Errorf("the changelog's context has %d bytes, too few for %d commits", info.Size(), j.N)
	}
	return done{}, err
}

const triple = "x86_64-unknown-linux-musl"

// crateName returns the name of the i-th crate from crates.io.
func crateName(i int) string { return fmt.Sprintf("dependency-%04d", i) }

// lockOf returns a Cargo.lock with the members of a workspace and n crates from
// crates.io.
func lockOf(members []string, n int) string {
	var b strings.Builder
	b.WriteString("version = 3\n")
	for _, name := range members {
		fmt.Fprintf(&b, "\n[[package]]\nname = %q\nversion = \"1.0.0\"\n", name)
	}
	for i := range n {
		fmt.Fprintf(&b, "\n[[package]]\nname = %q\nversion = \"1.0.0\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"%064x\"\n", crateName(i), i)
	}
	return b.String()
}

// writeCrates writes what a build with n crates keeps about them (see
// ci/release/toolchain/bill.sh), and its program.
func writeCrates(_ context.Context, w *world) error {
	const home = "/usr/local/cargo/registry/src/index.crates.io-1949cf8c6b5b557f"
	var messages, tree strings.Builder
	files := map[string][]byte{"further": nil, "Cargo.lock": []byte(lockOf([]string{"app"}, w.N))}
	message := func(id, manifest, name string) error {
		text, err := json.Marshal(table{
			"reason": "compiler-artifact", "package_id": id, "manifest_path": manifest, "target": table{"name": name, "kind": []string{"lib"}},
			"filenames": []string{cargo.TargetDir + "/" + triple + "/dist/deps/lib" + name + ".rlib"},
		})
		messages.Write(append(text, '\n'))
		return err
	}
	errs := []error{message("path+file:///gantry/src#app@1.0.0", "/gantry/src/Cargo.toml", "app")}
	tree.WriteString("0\tapp v1.0.0 (/gantry/src)\tMIT\t\t\n")
	line := func(depth, i int, end string) {
		fmt.Fprintf(&tree, "%d\t%s v1.0.0\tMIT OR Apache-2.0\thttps://example.com/%s\t%s\n", depth, crateName(i), crateName(i), end)
	}
	for i := range w.N {
		line(1, i, "")
		line(2, (i+1)%w.N, " (*)")
		dir := home + "/" + crateName(i) + "-1.0.0"
		errs = append(errs, message("registry+https://github.com/rust-lang/crates.io-index#"+crateName(i)+"@1.0.0", dir+"/Cargo.toml", crateName(i)))
		for _, name := range []string{"LICENSE-MIT", "LICENSE-APACHE"} {
			files["texts"+dir+"/"+name] = fmt.Appendf(nil, "%s of the authors of %s\n%s", name, crateName(i), strings.Repeat("Permission is hereby granted. ", 100))
		}
	}
	files["messages"], files["tree/"+triple] = []byte(messages.String()), []byte(tree.String())
	for name, text := range files {
		file := filepath.Join(w.Dir, "crates", filepath.FromSlash(name))
		errs = append(errs, os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, text, 0o644))
	}
	program, err := tinyELF(elf.EM_X86_64)
	return errors.Join(append(errs, err,
		os.WriteFile(filepath.Join(w.Dir, "app"), program, 0o755),
		os.WriteFile(filepath.Join(w.Dir, "log.md"), []byte("# Changelog\n"), 0o644))...)
}

// tinyELF returns a static ELF program for a machine, as far as its headers go: with a
// section of names, so that it can get more.
func tinyELF(machine elf.Machine) ([]byte, error) {
	const header, section = 64, 64
	names := []byte("\x00.shstrtab\x00")
	var out bytes.Buffer
	err := errors.Join(
		encoding.Write(&out, encoding.LittleEndian, elf.Header64{
			Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1}, Type: uint16(elf.ET_EXEC), Machine: uint16(machine),
			Version: 1, Entry: 1, Ehsize: header, Phentsize: 56, Shentsize: section, Shoff: header, Shnum: 2, Shstrndx: 1,
		}),
		encoding.Write(&out, encoding.LittleEndian, elf.Section64{}),
		encoding.Write(&out, encoding.LittleEndian, elf.Section64{Name: 1, Type: uint32(elf.SHT_STRTAB), Off: header + 2*section, Size: uint64(len(names)), Addralign: 1}),
	)
	out.Write(names)
	return out.Bytes(), err
}

// packCrates packs a program of n crates: its archive with their licenses, both bills of
// materials, and the list in the program.
func packCrates(_ context.Context, j job) (done, error) {
	out := filepath.Join(j.Dir, "out")
	if err := os.RemoveAll(out); err != nil {
		return done{}, err
	}
	if err := os.Mkdir(out, 0o755); err != nil {
		return done{}, err
	}
	name := "app-1.0.0-" + triple
	m := manifestOf("1.0.0")
	_, err := dist.Assemble(out, dist.Input{
		Manifest: *m, Own: []string{"/gantry/src/Cargo.toml"}, Changelog: filepath.Join(j.Dir, "log.md"),
		Targets: []dist.Target{{
			Want:    binary.Requirements{Target: triple, Format: "elf", Arch: "x86_64", OS: "linux", Libc: "musl"},
			Archive: name + ".tar.gz", SBOM: name + ".cdx.json", SPDX: name + ".spdx.json", Notices: true, Auditable: true,
			CratesDir: filepath.Join(j.Dir, "crates"), Binaries: []dist.Binary{{Name: "app", Bin: "app", Package: "app", File: filepath.Join(j.Dir, "app")}},
		}},
	}, func(string) {})
	if err != nil {
		return done{}, err
	}
	bill, err := os.ReadFile(filepath.Join(out, name+".cdx.json"))
	if err == nil && bytes.Count(bill, []byte(`"purl"`)) < j.N {
		err = fmt.Errorf("the bill has %d crates", bytes.Count(bill, []byte(`"purl"`)))
	}
	return done{}, err
}
