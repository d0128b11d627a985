package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"dagger/gantry/scripts/scale/curve"
)

// root is the module's directory.
func root() string { return filepath.Dir(filepath.Dir(sourceDir())) }

// loaded loads the module once, which no step is charged for.
var loaded = sync.OnceValue(func() error {
	_, err := dagger(context.Background(), "call", "module-version")
	if isEngineFault(err) {
		_, err = dagger(context.Background(), "call", "module-version")
	}
	return err
})

// dagger runs dagger, and returns what it prints.
func dagger(ctx context.Context, arguments ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "dagger", append([]string{"--progress=plain"}, arguments...)...)
	cmd.Dir = root()
	cmd.Cancel, cmd.WaitDelay = func() error { return cmd.Process.Signal(os.Interrupt) }, 10*time.Second
	cmd.Env = append(os.Environ(), "NO_COLOR=1")
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); err != nil {
		text := log.String()
		return "", fmt.Errorf("dagger %s: %w: %s", strings.Join(arguments, " "), err, text[max(0, len(text)-2000):])
	}
	return out.String(), nil
}

// engineFaults are errors of the engine itself, which come and go: it can't find a session
// that a cached result belonged to, can't mount a layer, or, on a slow disk, writes more
// files of a source at once than a process may open.
var engineFaults = []string{"failed to get requester session", "failed to mount", "too many open files"}

// isEngineFault reports whether a call failed for no reason of its own.
func isEngineFault(err error) bool {
	return err != nil && slices.ContainsFunc(engineFaults, func(text string) bool { return strings.Contains(err.Error(), text) })
}

// timed makes a call of the module. See timedDagger.
func (w *world) timed(ctx context.Context, expected string, arguments ...string) (*curve.Point, error) {
	return w.timedDagger(ctx, expected, append([]string{"call"}, arguments...)...)
}

// timedDagger runs dagger, and returns how long it took, the processor time of the whole
// machine meanwhile, and the highest memory of the module's program. expected must be in
// what it prints. It tries three times while the engine fails; the last try counts.
func (w *world) timedDagger(ctx context.Context, expected string, arguments ...string) (*curve.Point, error) {
	if err := loaded(); err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		p, err := w.timedOnce(ctx, expected, arguments...)
		if try == 3 || !isEngineFault(err) {
			return p, err
		}
		fmt.Fprintf(os.Stderr, "the engine failed; trying again: %v\n", err)
	}
}

func (w *world) timedOnce(ctx context.Context, expected string, arguments ...string) (*curve.Point, error) {
	// Else the kernel writes what was made before to the disk during this call.
	syscall.Sync()
	before, err := machineTime()
	if err != nil {
		return nil, err
	}
	memory := watch()
	start := time.Now()
	out, err := dagger(ctx, arguments...)
	p := &curve.Point{N: w.N, Elapsed: time.Since(start).Seconds(), Memory: memory()}
	after, e := machineTime()
	if e != nil {
		return nil, errors.Join(err, e)
	}
	p.Seconds = (after - before).Seconds()
	if err == nil && !strings.Contains(out, expected) {
		err = fmt.Errorf("dagger %s: it printed no %q: %s", strings.Join(arguments, " "), expected, out[:min(len(out), 2000)])
	}
	return p, err
}

// machineTime returns what all processes of this machine have used of its processors:
// the engine, the containers in it and the client, but also everything else that runs.
func machineTime() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return busyTime(string(text))
}

// busyTime reads the text of /proc/stat, whose first line has hundredths of a second of
// all processors (man 5 proc_stat): of user, nice, system, idle, iowait, irq, softirq,
// and more that is no work of this machine.
func busyTime(text string) (time.Duration, error) {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	if len(fields) < 8 || fields[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat begins with %q, and not with the processors' times", line)
	}
	ticks := int64(0)
	for _, i := range []int{1, 2, 3, 6, 7} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read /proc/stat: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// moduleProgram is the path of a Go module's program in its container.
const moduleProgram = "/runtime"

// watch looks for the module's programs that start from now on, until the function that
// it returns is called, which returns the highest resident memory of one, in KiB. It sees
// them where the engine is a process of this machine, and not in another kernel; there it
// returns 0. Programs of other calls at the same time count too.
func watch() (peak func() int64) {
	before := map[string]bool{}
	for _, process := range programs() {
		before[process] = true
	}
	stop, stopped := make(chan struct{}), make(chan int64)
	go func() {
		most := int64(0)
		for {
			for _, process := range programs() {
				if !before[process] {
					if kib, err := peakMemory(process); err == nil { // it may have ended
						most = max(most, kib)
					}
				}
			}
			select {
			case <-stop:
				stopped <- most
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() int64 { close(stop); return <-stopped }
}

// programs returns the processes that are a module's program.
func programs() []string {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []string
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		if exe, err := os.Readlink("/proc/" + e.Name() + "/exe"); err == nil && exe == moduleProgram {
			found = append(found, e.Name())
		}
	}
	return found
}

// source returns the directory of the group's source, which the first step writes.
func (w *world) source(write func(dir string, n int) error) (string, error) {
	return w.written("source", write)
}

// written returns a directory of a name, which the first step that asks for it writes.
func (w *world) written(name string, write func(dir string, n int) error) (string, error) {
	dir := filepath.Join(w.disk, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	return dir, write(dir, w.N)
}

// git runs git in a directory, with a fixed identity and date.
func git(dir string, in io.Reader, arguments ...string) error {
	cmd := exec.Command("git", append([]string{"-c", "init.defaultBranch=main", "-c", "gc.auto=0"}, arguments...)...)
	const date = "2026-01-01T00:00:00Z"
	cmd.Dir, cmd.Stdin = dir, in
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=scale", "GIT_AUTHOR_EMAIL=scale@example.com", "GIT_COMMITTER_NAME=scale",
		"GIT_COMMITTER_EMAIL=scale@example.com", "GIT_AUTHOR_DATE="+date, "GIT_COMMITTER_DATE="+date, "GIT_CONFIG_GLOBAL=/dev/null")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git %s: %w: %s", strings.Join(arguments, " "), err, out)
	}
	return nil
}

// writeFiles writes files into a directory.
func writeFiles(dir string, files map[string]string) error {
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			return err
		}
	}
	return nil
}

// saltFile makes a source another one than those of all other runs, which the engine may
// have seen.
const saltFile = "salt.txt"

// tagged makes a directory a repository with one commit, tagged v1.0.0.
func tagged(dir string) error {
	return errors.Join(
		writeFiles(dir, map[string]string{saltFile: dir}),
		git(dir, nil, "init", "-q"),
		// Objects go into a pack at once, and are not compressed.
		git(dir, nil, "-c", "core.bigFileThreshold=1", "-c", "core.compression=0", "add", "-A"),
		git(dir, nil, "commit", "-q", "-m", "feat: everything"),
		git(dir, nil, "tag", "v1.0.0"),
	)
}

// program is a package with some binaries, each of which has some functions, and lines of
// its configuration.
func program(bins, functions int, configuration string) map[string]string {
	files := map[string]string{
		"Cargo.toml": "[package]\nname = \"app\"\nversion = \"1.0.0\"\nedition = \"2021\"\nlicense = \"MIT\"\nrepository = \"https://github.com/acme/app\"\n\n[package.metadata.gantry]\n" + configuration,
		"Cargo.lock": "version = 3\n\n[[package]]\nname = \"app\"\nversion = \"1.0.0\"\n", ".gitignore": "/target\n", "README.md": "# app\n",
	}
	for i := range bins {
		files[fmt.Sprintf("src/bin/app-%02d.rs", i)] = mainFile(functions)
	}
	return files
}

// mainFile is a program that prints its name and its version, and what its functions make
// of its arguments: each is about a tenth of a second of work for the compiler.
func mainFile(functions int) string {
	var b strings.Builder
	for i := range functions {
		fmt.Fprintf(&b, `fn work_%[1]d(words: &[String]) -> String {
    let mut counts = std::collections::BTreeMap::new();
    for (place, word) in words.iter().enumerate() {
        *counts.entry(word.to_lowercase()).or_insert(%[1]du64) += (place * word.len()) as u64;
    }
    let mut lines: Vec<String> = counts.iter().map(|(word, n)| format!("%[1]d {word}: {n}")).collect();
    lines.sort_by_key(|line| line.len() ^ %[1]d);
    lines.join("\n")
}
`, i)
	}
	b.WriteString("fn main() {\n    println!(\"{} {}\", env!(\"CARGO_BIN_NAME\"), env!(\"CARGO_PKG_VERSION\"));\n")
	if functions > 0 {
		b.WriteString("    let words: Vec<String> = std::env::args().skip(2).collect();\n")
	}
	for i := range functions {
		fmt.Fprintf(&b, "    print!(\"{}\", work_%d(&words));\n", i)
	}
	b.WriteString("}\n")
	return b.String()
}

// writeManyFiles writes a source with n files.
func writeManyFiles(dir string, n int) error {
	files := program(1, 0, "")
	for i := len(files) + 1; i < n; i++ {
		files[fmt.Sprintf("assets/%04d/file-%06d.txt", i/100, i)] = fmt.Sprintf("%d\n", i)
	}
	return errors.Join(writeFiles(dir, files), tagged(dir))
}

// writeMegabytes writes a source of n megabytes, half of which are its files. Each source
// has other bytes, which the engine has not seen.
func writeMegabytes(dir string, n int) error {
	if err := errors.Join(writeFiles(dir, program(1, 0, "")), os.Mkdir(filepath.Join(dir, "assets"), 0o755)); err != nil {
		return err
	}
	const parts = 8
	for i := range parts {
		noise := rand.NewChaCha8(sha256.Sum256(fmt.Appendf(nil, "%s %d", dir, i)))
		f, err := os.Create(filepath.Join(dir, "assets", fmt.Sprintf("%d.bin", i)))
		if err != nil {
			return err
		}
		_, err = io.CopyN(f, noise, int64(n)*500_000/parts)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return tagged(dir)
}

// writeMembers writes a workspace of n members.
func writeMembers(dir string, n int) error {
	files := map[string]string{"Cargo.toml": "[workspace]\nresolver = \"2\"\nmembers = [\"crates/*\"]\n", ".gitignore": "/target\n"}
	var members []string
	for i := range n {
		name := fmt.Sprintf("crate-%04d", i)
		members = append(members, name)
		text := fmt.Sprintf("[package]\nname = %q\nversion = \"1.0.0\"\nedition = \"2021\"\nlicense = \"MIT\"\nrepository = \"https://github.com/acme/app\"\n", name)
		if i > 0 {
			before := fmt.Sprintf("crate-%04d", i-1)
			text += fmt.Sprintf("\n[dependencies]\n%s = { path = \"../%s\" }\n", before, before)
		}
		files["crates/"+name+"/Cargo.toml"] = text
		files["crates/"+name+"/src/lib.rs"] = ""
		files["crates/"+name+"/LICENSE"] = "MIT\n"
		if i%10 == 0 {
			files["crates/"+name+"/src/main.rs"] = "fn main() {}\n"
		}
	}
	var lock strings.Builder
	lock.WriteString("version = 3\n")
	for i, name := range members {
		fmt.Fprintf(&lock, "\n[[package]]\nname = %q\nversion = \"1.0.0\"\n", name)
		if i > 0 {
			fmt.Fprintf(&lock, "dependencies = [\n %q,\n]\n", members[i-1])
		}
	}
	files["Cargo.lock"] = lock.String()
	return errors.Join(writeFiles(dir, files), tagged(dir))
}

// pastTags is how many releases a history of commits has, whatever its length.
const pastTags = 10

// writeCommits writes a program and a history of n commits, with releases at even
// distances. The last commit is tagged v1.0.0.
func writeCommits(dir string, n int) error {
	var stream bytes.Buffer
	data := func(text string) { fmt.Fprintf(&stream, "data %d\n%s\n", len(text), text) }
	for i := range n {
		fmt.Fprintf(&stream, "commit refs/heads/main\nmark :%d\ncommitter scale <scale@example.com> %d +0000\n", i+1, 1700000000+i*60)
		kind := []string{"feat", "fix", "docs", "refactor"}[i%4]
		data(fmt.Sprintf("%s(part-%d): change number %d of the history", kind, i%7, i))
		if i == 0 {
			files := program(1, 0, "")
			files[saltFile] = dir
			for name, text := range files {
				fmt.Fprintf(&stream, "M 100644 inline %s\n", name)
				data(text)
			}
		}
		fmt.Fprintf(&stream, "M 100644 inline log/%02d.txt\n", i%50)
		data(strconv.Itoa(i))
	}
	for i := range pastTags {
		fmt.Fprintf(&stream, "reset refs/tags/v0.%d.0\nfrom :%d\n\n", i+1, max(1, (i+1)*n/(pastTags+1)))
	}
	fmt.Fprintf(&stream, "reset refs/tags/v1.0.0\nfrom :%d\n\n", n)
	return errors.Join(git(dir, nil, "init", "-q"), git(dir, &stream, "fast-import", "--quiet"), git(dir, nil, "reset", "-q", "--hard", "main"))
}

// planSource plans the release of the group's source.
func planSource(write func(dir string, n int) error) func(context.Context, *world) (*curve.Point, error) {
	return func(ctx context.Context, w *world) (*curve.Point, error) {
		dir, err := w.source(write)
		if err != nil {
			return nil, err
		}
		return w.timed(ctx, "v1.0.0", "--source="+dir, "release", "--tag=v1.0.0", "plan")
	}
}

// other is the name of a source of the same size, for comparisons, which the engine has
// not seen as part of a plan.
const other = "other"

// nothingSource calls a function that does nothing with its source.
func nothingSource(write func(dir string, n int) error) func(context.Context, *world) (*curve.Point, error) {
	return func(ctx context.Context, w *world) (*curve.Point, error) {
		dir, err := w.written(other, write)
		if err != nil {
			return nil, err
		}
		p, err := w.timed(ctx, ".", "--source="+dir, "module-version")
		return withoutMemory(p, err)
	}
}

// cargoSource runs a command of Cargo on its source in Rust's image: it prints a line for
// every thing that it is about, as many as the group's size.
func cargoSource(write func(dir string, n int) error, things, command string) func(context.Context, *world) (*curve.Point, error) {
	return func(ctx context.Context, w *world) (*curve.Point, error) {
		dir, err := w.written(other, write)
		if err != nil {
			return nil, err
		}
		p, err := w.timedDagger(ctx, fmt.Sprintf("%d %s", w.N, things), "core", "container", "from", "--address="+rustImage, "with-directory", "--path=/src", "--source="+dir,
			"with-workdir", "--path=/src", "with-exec", "--args=sh,-c,("+command+") | wc -l | sed 's/$/ "+things+"/'", "stdout")
		return withoutMemory(p, err)
	}
}

// rustImage is the image of the toolchain that Gantry chooses by default.
const rustImage = "rust:1.96-bookworm"

// withoutMemory takes away the memory of a program that has no part in it.
func withoutMemory(p *curve.Point, err error) (*curve.Point, error) {
	if err != nil {
		return nil, err
	}
	p.Memory = 0
	return p, nil
}

// changelogSource makes the changelog of the group's source.
func changelogSource(ctx context.Context, w *world) (*curve.Point, error) {
	dir, err := w.source(writeCommits)
	if err != nil {
		return nil, err
	}
	return w.timed(ctx, fmt.Sprintf("hange number %d of", w.N-1), "--source="+dir, "release", "--tag=v1.0.0", "changelog", "contents")
}

// built are the targets that a toolchain builds without more tools, and further those
// whose programs are packed only.
var (
	built   = []string{"x86_64-unknown-linux-gnu", "x86_64-unknown-linux-musl", "aarch64-unknown-linux-gnu", "aarch64-unknown-linux-musl"}
	further = []string{"riscv64gc-unknown-linux-gnu", "riscv64gc-unknown-linux-musl", "powerpc64le-unknown-linux-gnu", "loongarch64-unknown-linux-musl"}
)

const (
	// functions of a program that is compiled for every target, and functionsEach of every
	// one of many binaries. With fewer, what a call costs without them hides them.
	functions, functionsEach = 30, 4
	// packedBytes are those of a program that is packed only.
	packedBytes = 16 << 20
)

// machineOf returns the number in an ELF file of a target.
func machineOf(triple string) elf.Machine {
	arch, _, _ := strings.Cut(triple, "-")
	return map[string]elf.Machine{"x86_64": elf.EM_X86_64, "aarch64": elf.EM_AARCH64, "riscv64gc": elf.EM_RISCV, "powerpc64le": elf.EM_PPC64, "loongarch64": elf.EM_LOONGARCH}[arch]
}

func targetsLine(targets []string) string {
	return fmt.Sprintf("targets = [\"%s\"]\n", strings.Join(targets, `", "`))
}

// writeTargets writes a program for n targets that are built.
func writeTargets(dir string, n int) error {
	return errors.Join(writeFiles(dir, program(1, functions, targetsLine(built[:n]))), tagged(dir))
}

// unused is a name for build caches that no run has used.
func unused() string { return fmt.Sprintf("--cache-namespace=scale-%d", time.Now().UnixNano()) }

// distSource builds and packs the group's source from empty caches.
func distSource(write func(dir string, n int) error) func(context.Context, *world) (*curve.Point, error) {
	return func(ctx context.Context, w *world) (*curve.Point, error) {
		dir, err := w.source(write)
		if err != nil {
			return nil, err
		}
		return w.timed(ctx, "release-manifest.json", "--source="+dir, unused(), "release", "--tag=v1.0.0", "dist", "entries")
	}
}

// packSource packs programs for n targets that were built elsewhere: the headers of a
// program, and then noise.
func packSource(ctx context.Context, w *world) (*curve.Point, error) {
	targets := append(append([]string{}, built...), further...)[:w.N]
	dir := filepath.Join(w.disk, "packed")
	if err := errors.Join(writeFiles(dir, program(1, 0, targetsLine(targets))), tagged(dir)); err != nil {
		return nil, err
	}
	arguments := []string{"--source=" + dir, unused(), "release", "--tag=v1.0.0"}
	for _, t := range targets {
		binaries := filepath.Join(w.disk, "binaries", t)
		text, err := tinyELF(machineOf(t))
		if err == nil {
			err = writeFiles(binaries, map[string]string{"app-00": string(append(text, halfNoise(dir+t, packedBytes)...))})
		}
		if err != nil {
			return nil, err
		}
		arguments = append(arguments, "with-binaries", "--target="+t, "--dir="+binaries, "--any-version")
	}
	return w.timed(ctx, "release-manifest.json", append(arguments, "dist", "entries")...)
}

// halfNoise returns n bytes that shrink to about a half, and that differ for each seed.
func halfNoise(seed string, n int) []byte {
	out := make([]byte, n)
	rand.NewChaCha8(sha256.Sum256([]byte(seed))).Read(out)
	for i := range out {
		out[i] &= 0x0f
	}
	return out
}

// writeBins writes a package with n binaries for one target.
func writeBins(dir string, n int) error {
	return errors.Join(writeFiles(dir, program(n, functionsEach, targetsLine(built[:1]))), tagged(dir))
}
