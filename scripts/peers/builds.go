package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"dagger/gantry/ci/binary"
)

// sampleTargets are those of the sample.
var sampleTargets = []string{"x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"}

const (
	leafCrate = "crates/tally-server/src/main.rs"
	// toolchainImage is the image in which Gantry builds the sample.
	toolchainImage = "rust:1.96-bookworm"
	// comparedTargets are those that are built twice, to compare the bytes.
	comparedTargets = "x86_64-unknown-linux-gnu aarch64-unknown-linux-musl"
	// zigPackages are cargo-zigbuild and zig, as docs/targets.md installs them.
	zigPackages = `cargo-zigbuild==0.24.1 --hash=sha256:238a1ab54a95053a4eadc34775c81f795a8ad75f80bfed63f3f445f518102375
ziglang==0.17.1 --hash=sha256:ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54
`
)

//go:embed build.sh
var buildScript string

// builds compares how a workspace becomes archives.
func builds(ctx context.Context, e *Env) ([]Row, error) {
	g, err := newEngine(e)
	if err != nil {
		return nil, err
	}
	defer g.Close()
	source := filepath.Join(e.Work, "sample")
	if err := sample(ctx, e, source); err != nil {
		return nil, err
	}
	e.Note("The sample's server, two binaries, for %s. Every tool runs in the image %s, with the same settings of the compiler, and with zig for the tools that use it. Crates are downloaded before. %s are built once more, in another directory.", strings.Join(sampleTargets, ", "), toolchainImage, strings.ReplaceAll(comparedTargets, " ", " and "))
	e.Note("Times of Gantry include the dagger command and the engine; those of other tools are taken inside the container. Gantry's archives also have license texts and bills of materials, and its dist the changelog; plain cargo makes no archives.")
	e.Note("After a change, Gantry compiles the files of a release from scratch, so that they can't contain anything of another source. `build`, which makes the binaries of one target, compiles only what changed.")
	e.Note("rustup is a script that does nothing: it reaches no server here, and the image has the targets' standard libraries.")
	all := map[string]*buildResults{}
	e.Log("builds by %s", Gantry)
	if all[Gantry], err = g.buildWithGantry(ctx, source); err != nil {
		return nil, fmt.Errorf("%s: %w", Gantry, err)
	}
	for _, name := range []string{"cargo", "goreleaser", "dist"} {
		e.Log("builds by %s", name)
		all[name], err = retried(ctx, e, name, func() (*buildResults, error) { return g.buildWith(ctx, name, source) })
		if err != nil {
			if !e.tolerated(ctx, name, err) {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			all[name] = &buildResults{missing: err}
			continue
		}
		e.Log("  %+v", *all[name])
	}
	return buildRows(all), nil
}

// buildResults are what is measured of one tool.
type buildResults struct {
	cold, unchanged, edited, one float64
	// differing are the archives or binaries that two builds made differently, of those
	// that were compared.
	differing []string
	compared  int
	// glibc is the newest version of glibc that a binary needs.
	glibc string
	// failed are the targets that the tool could not build.
	failed  []string
	missing error
}

// buildWithGantry measures Gantry.
func (g *engine) buildWithGantry(ctx context.Context, source string) (*buildResults, error) {
	namespace := fmt.Sprintf("peers-%d", time.Now().Unix())
	dist := func(source, namespace, out string, more ...string) error {
		args := slices.Concat([]string{"--source=" + source, "--cache-namespace=" + namespace, "release", "--tag=" + sampleTag, "dist"}, more, []string{"export", "--path=" + out})
		_, err := g.call(ctx, args...)
		return err
	}
	if _, err := g.call(ctx, "module-version"); err != nil { // the module is loaded
		return nil, err
	}
	// The partial build is the first, since it downloads the crates.
	elsewhere, partial, full := filepath.Join(g.env.Work, "elsewhere", "sample"), filepath.Join(g.env.Work, "partial"), filepath.Join(g.env.Work, "full")
	if _, err := Output(Command(ctx, g.env.Work, nil, "git", "clone", "--quiet", source, elsewhere)); err != nil {
		return nil, err
	}
	if err := dist(elsewhere, namespace+"-partial", partial, "--targets="+strings.ReplaceAll(comparedTargets, " ", ",")); err != nil {
		return nil, err
	}
	r := &buildResults{}
	var err error
	if r.cold, err = seconds(func() error { return dist(source, namespace, full) }); err != nil {
		return nil, err
	}
	g.env.Log("  cold %.1f s", r.cold)
	some, err := digests(partial, "*.tar.gz")
	if err != nil {
		return nil, err
	}
	all, err := digests(full, "*.tar.gz")
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(all, func(name, _ string) bool { return some[name] == "" })
	r.compared, r.differing = len(some), differing(some, all)
	if err := g.unpackGnu(ctx, full, filepath.Join(g.env.Work, "gnu")); err != nil {
		return nil, err
	}
	if r.glibc, err = glibcFloor(filepath.Join(g.env.Work, "gnu")); err != nil {
		return nil, err
	}
	return r, g.editWithGantry(ctx, source, namespace, r, dist)
}

// editWithGantry measures what follows the first build.
func (g *engine) editWithGantry(ctx context.Context, source, namespace string, r *buildResults, dist func(source, namespace, out string, more ...string) error) error {
	out := filepath.Join(g.env.Work, "dist")
	var err error
	if r.unchanged, err = rounds(g.env.Rounds, func(int) (float64, error) {
		return seconds(func() error { return dist(source, namespace, out) })
	}); err != nil {
		return err
	}
	g.env.Log("  unchanged %.1f s", r.unchanged)
	// A dist of another source compiles everything, so that one round tells enough.
	if err := edit(source, "A"); err != nil {
		return err
	}
	if err := commit(ctx, source, "feat: another line", sampleTag); err != nil {
		return err
	}
	if r.edited, err = seconds(func() error { return dist(source, namespace, out) }); err != nil {
		return err
	}
	g.env.Log("  edited %.1f s", r.edited)
	build := func() error {
		_, err := g.call(ctx, "--source="+source, "--cache-namespace="+namespace, "build", "--target="+sampleTargets[0], "--component=tally-server", "export", "--path="+filepath.Join(g.env.Work, "bin"))
		return err
	}
	if err := build(); err != nil {
		return err
	}
	r.one, err = rounds(g.env.Rounds, func(i int) (float64, error) {
		if err := edit(source, fmt.Sprintf("B%d", i)); err != nil {
			return 0, err
		}
		return seconds(build)
	})
	return err
}

// edit adds a line to the leaf crate.
func edit(source, name string) error {
	f, err := os.OpenFile(filepath.Join(source, leafCrate), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "#[used]\nstatic PEERS_%s: &str = \"x\";\n", name)
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// unpackGnu unpacks the archives for glibc.
func (g *engine) unpackGnu(ctx context.Context, from, to string) error {
	archives, err := filepath.Glob(filepath.Join(from, "*-gnu.tar.gz"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, a := range archives {
		if _, err := g.run(Command(ctx, to, nil, "tar", "-xzf", a)); err != nil {
			return err
		}
	}
	return nil
}

// goreleaserBuilds is the configuration, as the documentation of GoReleaser's Rust
// builder and of reproducible archives recommends it.
const goreleaserBuilds = `version: 2
project_name: tally-server
builds:{{BUILDS}}
archives:
  - formats: [tar.gz]
    name_template: "{{ .ProjectName }}-{{ .Version }}-{{ .Target }}"
    builds_info:
      mtime: "{{ .CommitDate }}"
    files:
      - src: LICENSE*
        info: {mtime: "{{ .CommitDate }}"}
      - src: README*
        info: {mtime: "{{ .CommitDate }}"}
changelog:
  disable: true
`

// distWorkspace is what `dist init` writes, without installers and a CI.
const distWorkspace = `[workspace]
members = ["cargo:."]

[dist]
cargo-dist-version = "{{VERSION}}"
installers = []
targets = ["{{TARGETS}}"]
`

// configurations writes the files of tools into a directory.
func configurations(dir, distVersion string) error {
	var all strings.Builder
	for _, b := range []string{"tally-server", "tally-audit"} {
		fmt.Fprintf(&all, "\n  - id: %s\n    builder: rust\n    binary: %s\n    flags: [--release, --package=tally-server, --features=gzip]\n"+
			"    mod_timestamp: \"{{ .CommitTimestamp }}\"\n    targets: [%s]", b, b, "{{TARGETS}}")
	}
	for name, text := range map[string]string{
		"goreleaser.yaml":     strings.Replace(goreleaserBuilds, "{{BUILDS}}", all.String(), 1),
		"dist-workspace.toml": strings.NewReplacer("{{VERSION}}", distVersion, "{{TARGETS}}", strings.Join(sampleTargets, `", "`)).Replace(distWorkspace),
		"zig.txt":             zigPackages,
		"build.sh":            buildScript,
		"zig.sh":              "set -eu\napt-get update -qq\napt-get install -y -qq --no-install-recommends python3-pip xz-utils\npip install --break-system-packages --no-deps --quiet --require-hashes --requirement /zig.txt\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return writeShims(filepath.Join(dir, "shims"), "rustup")
}

// buildWith measures another tool, in one container.
func (g *engine) buildWith(ctx context.Context, name, source string) (*buildResults, error) {
	program, version := "", ""
	if name != "cargo" {
		var err error
		if program, version, err = g.env.Tool(ctx, name); err != nil {
			return nil, err
		}
	}
	dir := filepath.Join(g.env.Work, name)
	if err := os.RemoveAll(dir); err != nil { // of a first try
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := configurations(dir, version); err != nil {
		return nil, err
	}
	fresh := filepath.Join(dir, "source")
	if err := sample(ctx, g.env, fresh); err != nil {
		return nil, err
	}
	args := []string{"container", "from", "--address=" + toolchainImage, "with-file", "--path=/zig.txt", "--source=" + filepath.Join(dir, "zig.txt"),
		"with-file", "--path=/zig.sh", "--source=" + filepath.Join(dir, "zig.sh"), "with-exec", "--args=sh,/zig.sh"}
	for _, f := range []string{"goreleaser.yaml", "dist-workspace.toml", "build.sh"} {
		args = append(args, "with-file", "--path=/"+f, "--source="+filepath.Join(dir, f))
	}
	if program != "" {
		args = append(args, "with-file", "--path=/usr/local/bin/"+name, "--source="+program)
	}
	args = append(args, "with-directory", "--path=/shims", "--source="+filepath.Join(dir, "shims"), "with-directory", "--path=/source", "--source="+fresh)
	for k, v := range map[string]string{
		"TOOL": name, "TARGETS": strings.Join(sampleTargets, " "), "COMPARED": comparedTargets, "ROUNDS": strconv.Itoa(g.env.Rounds), "RUN": strconv.FormatInt(time.Now().Unix(), 10),
	} {
		args = append(args, "with-env-variable", "--name="+k, "--value="+v)
	}
	out := filepath.Join(dir, "out")
	if _, err := g.core(ctx, append(args, "with-exec", "--args=sh,/build.sh", "directory", "--path=/out", "export", "--path="+out)...); err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(out, "measured"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := measured(bufio.NewScanner(f))
	if err != nil {
		return nil, err
	}
	r.glibc, err = glibcFloor(filepath.Join(out, "gnu"))
	return r, err
}

// measured reads what build.sh writes.
func measured(lines *bufio.Scanner) (*buildResults, error) {
	r := &buildResults{}
	times := map[string][]float64{}
	sums := map[string]map[string]string{"a": {}, "b": {}}
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 3 && words[0] == "seconds":
			v, err := strconv.ParseFloat(words[2], 64)
			if err != nil {
				return nil, fmt.Errorf("read %q: %w", lines.Text(), err)
			}
			times[words[1]] = append(times[words[1]], v)
		case len(words) == 4 && words[0] == "sha256" && sums[words[1]] != nil:
			sums[words[1]][words[2]] = words[3]
		case len(words) == 2 && words[0] == "failed":
			r.failed = append(r.failed, words[1])
		default:
			return nil, fmt.Errorf("read %q: no line of build.sh", lines.Text())
		}
	}
	if len(times["cold"]) != 1 || len(sums["a"]) == 0 {
		return nil, fmt.Errorf("build.sh made %d files to compare in %d cold builds: want some in 1", len(sums["a"]), len(times["cold"]))
	}
	r.cold, r.unchanged, r.edited, r.one = times["cold"][0], median(times["unchanged"]), median(times["edited"]), median(times["one"])
	r.compared, r.differing = len(sums["a"]), differing(sums["a"], sums["b"])
	return r, lines.Err()
}

// differing returns the names whose digests differ, or that only one has.
func differing(a, b map[string]string) []string {
	both := maps.Clone(a)
	maps.Copy(both, b)
	var names []string
	for _, name := range keys(both) {
		if a[name] != b[name] {
			names = append(names, name)
		}
	}
	return names
}

// digests returns the digests of files by their names.
func digests(dir, pattern string) (map[string]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		return nil, err
	}
	sums := map[string]string{}
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			return nil, err
		}
		sums[filepath.Base(p)] = fmt.Sprintf("%x", sha256.Sum256(data))
	}
	if len(sums) == 0 {
		return nil, fmt.Errorf("%s has no %s", dir, pattern)
	}
	return sums, nil
}

// glibcFloor returns the newest glibc that a program in a directory needs.
func glibcFloor(dir string) (floor string, err error) {
	programs := 0
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		facts, err := binary.Inspect(f, info.Size())
		if err != nil || facts.GlibcFloor == "" {
			return nil // a license, say
		}
		programs++
		if floor == "" || binary.CompareVersions(facts.GlibcFloor, floor) > 0 {
			floor = facts.GlibcFloor
		}
		return nil
	})
	if err == nil && programs == 0 {
		err = fmt.Errorf("%s has no program that needs glibc", dir)
	}
	return floor, err
}

// buildRows turns the results into rows.
func buildRows(all map[string]*buildResults) []Row {
	row := func(what, unit, better string, within float64, cell func(*buildResults) Cell) Row {
		return Row{What: what, Unit: unit, Better: better, Within: within, Cells: cellsOf(all, func(r *buildResults) error { return r.missing }, cell)}
	}
	// of is a time of all targets, which is not compared if some of them failed.
	of := func(v float64, r *buildResults) Cell {
		if len(r.failed) == 0 {
			return Number(v)
		}
		return Text(fmt.Sprintf("%.1f for %d of %d targets", v, len(sampleTargets)-len(r.failed), len(sampleTargets))).With("It could not build " + strings.Join(r.failed, " and ") + " in this image.")
	}
	return []Row{
		headline(row("files of four targets, cold", "s", Less, 0.05, func(r *buildResults) Cell { return of(r.cold, r) })),
		row("again, nothing changed", "s", Less, 0.05, func(r *buildResults) Cell { return of(r.unchanged, r) }),
		row("again, a line of one crate changed", "s", Less, 0.05, func(r *buildResults) Cell { return of(r.edited, r) }),
		row("binaries of one target, a line of one crate changed", "s", Less, 0.05, func(r *buildResults) Cell { return Number(r.one) }),
		row("targets built on one machine, of 4", "", More, 0, func(r *buildResults) Cell { return Number(float64(len(sampleTargets) - len(r.failed))) }),
		headline(row("files that differ when built in another directory", "", Less, 0, func(r *buildResults) Cell {
			return Graded(float64(len(r.differing)), fmt.Sprintf("%d of %d", len(r.differing), r.compared))
		})),
		row("newest glibc that a gnu binary needs", "", Less, 0, glibcCell),
	}
}

// glibcCell compares versions such as 2.9 and 2.36.
func glibcCell(r *buildResults) Cell {
	major, minor, _ := strings.Cut(r.glibc, ".")
	high, _ := strconv.Atoi(major)
	low, _ := strconv.Atoi(strings.SplitN(minor, ".", 2)[0])
	return Graded(float64(1000*high+low), r.glibc)
}
