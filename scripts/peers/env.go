package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Env is what a part works with.
type Env struct {
	// Part is the name of the part.
	Part string
	// Root is this repository, and Cache where what is slow to make is kept.
	Root, Cache string
	// Out is where results go.
	Out string
	// Work is an empty directory that is deleted after the part.
	Work string
	// Rounds is how often something is measured, of which the median counts.
	Rounds int
	// Faults is "light" or "all": how many faults are injected.
	Faults string

	mu    sync.Mutex
	tools map[string]installed
	used  map[string]string // the versions of the tools, by name
	notes []string
}

// Log prints a line about the progress.
func (e *Env) Log(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s  %s\n", time.Now().UTC().Format("15:04:05"), fmt.Sprintf(format, args...))
}

// Note adds a note below the part's table.
func (e *Env) Note(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.notes = append(e.notes, fmt.Sprintf(format, args...))
}

// Used records the version of a tool that the part compares. Tool does it, too.
func (e *Env) Used(name, version string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.used[name] = version
}

// Command returns a command, with further environment variables.
func Command(ctx context.Context, dir string, env []string, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// Output runs a command and returns its output, trimmed. An error has the end of what
// the command printed.
func Output(cmd *exec.Cmd) (string, error) {
	var out, all strings.Builder
	cmd.Stdout = writers(&out, &all)
	cmd.Stderr = &all
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(all.String())
		return "", fmt.Errorf("run %s: %w: %s", strings.Join(cmd.Args, " "), err, text[max(0, len(text)-2000):])
	}
	return strings.TrimSpace(out.String()), nil
}
