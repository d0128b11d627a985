package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Compiling and linking takes longer than most tests. So one test program gets
// all of a package's mutants, each behind a switch that an environment variable
// turns. Those that a switch can't express are compiled alone.

// form says how a mutant is put behind a switch.
type form int

const (
	alone     form = iota
	boolean        // an expression of type bool; alt is the other
	constant       // true or false
	failure        // an error that becomes nil
	literal        // a string
	integer        // an operation on integers
	statement      // alt is done instead, or nothing
	selection      // a case of a switch without a value
)

const (
	switchVariable = "GANTRY_MUTANT"
	switchFile     = "zz_mutants.go"
)

const switches = `package %s

import (
	zzos "os"
	zzstrconv "strconv"
)

var zzMutant, _ = zzstrconv.Atoi(zzos.Getenv("` + switchVariable + `"))

func zzOn(id int) bool { return id == zzMutant }

func zzError(id int, err error) error {
	if zzOn(id) {
		return nil
	}
	return err
}

func zzString(id int, is, other string) string {
	if zzOn(id) {
		return other
	}
	return is
}

func zzInteger[T ~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr](id int, is, other string, a, b T) T {
	if zzOn(id) {
		is = other
	}
	switch is {
	case "+":
		return a + b
	case "-":
		return a - b
	case "*":
		return a * b
	case "/":
		return a / b
	case "%%":
		return a %% b
	case "&":
		return a & b
	case "|":
		return a | b
	}
	panic("no operator " + is)
}
`

// node is a stretch of the source that mutants change.
type node struct {
	start, end int
	mutants    []*Mutant
	children   []*node
}

// withSwitches returns the source of a file with the mutants behind switches.
// ids numbers the mutants.
func withSwitches(source []byte, mutants []*Mutant, ids map[*Mutant]int) []byte {
	byPlace := map[[2]int]*node{}
	var nodes []*node
	for _, m := range mutants {
		place := [2]int{m.nodeStart, m.nodeEnd}
		n := byPlace[place]
		if n == nil {
			n = &node{start: place[0], end: place[1]}
			byPlace[place] = n
			nodes = append(nodes, n)
		}
		n.mutants = append(n.mutants, m)
	}
	slices.SortFunc(nodes, func(a, b *node) int {
		if a.start != b.start {
			return a.start - b.start
		}
		return b.end - a.end
	})
	whole := &node{end: len(source)}
	around := []*node{whole}
	for _, n := range nodes {
		for around[len(around)-1].end < n.end || around[len(around)-1].end <= n.start {
			around = around[:len(around)-1]
		}
		parent := around[len(around)-1]
		parent.children = append(parent.children, n)
		around = append(around, n)
	}
	return []byte(whole.render(source, ids, whole.start, whole.end))
}

// render returns the source from start to end with the node's children behind
// switches.
func (n *node) render(source []byte, ids map[*Mutant]int, start, end int) string {
	var b strings.Builder
	at := start
	for _, c := range n.children {
		if c.start < start || c.end > end {
			continue
		}
		b.Write(source[at:c.start])
		b.WriteString(c.switched(source, ids))
		at = c.end
	}
	b.Write(source[at:end])
	return b.String()
}

func (n *node) switched(source []byte, ids map[*Mutant]int) string {
	text := n.render(source, ids, n.start, n.end)
	for _, m := range n.mutants {
		id := strconv.Itoa(ids[m])
		switch m.form {
		case boolean:
			text = "func() bool { if zzOn(" + id + ") { return " + m.text + " }; return (" + text + ") }()"
		case constant:
			text = "(zzOn(" + id + ") != " + text + ")"
		case failure:
			text = "zzError(" + id + ", " + text + ")"
		case literal:
			text = "zzString(" + id + ", " + text + ", " + m.text + ")"
		case integer:
			text = "zzInteger(" + id + ", " + strconv.Quote(m.operators[0]) + ", " + strconv.Quote(m.operators[1]) + ", " +
				n.render(source, ids, m.operands[0], m.operands[1]) + ", " + n.render(source, ids, m.operands[2], m.operands[3]) + ")"
		case statement:
			if m.alt == "" {
				text = "if !zzOn(" + id + ") { " + text + " }"
			} else {
				text = "if zzOn(" + id + ") { " + m.alt + " } else { " + text + " }"
			}
		case selection:
			text = "!zzOn(" + id + ") && (" + text + ")"
		}
	}
	return text
}

var (
	compileError = regexp.MustCompile(`(?m)^\S*?(\w+\.go):(\d+)(?::\d+)?: `)
	marker       = regexp.MustCompile(`zz(?:On|Error|String|Integer)\((\d+)`)
)

// Switch compiles the package once with as many of the mutants as possible.
func (r *Runner) Switch(ctx context.Context, mutants []*Mutant) error {
	files := map[string][]*Mutant{}
	ids, byID := map[*Mutant]int{}, map[int]*Mutant{}
	for i, m := range mutants {
		if m.form != alone {
			ids[m], byID[i+1] = i+1, m
			files[m.File] = append(files[m.File], m)
		}
	}
	for len(ids) > 0 {
		replace, lines := map[string]string{}, map[string][]string{}
		var name string
		for file, of := range files {
			text := withSwitches(of[0].source, of, ids)
			changed := filepath.Join(r.Work, "switched-"+filepath.Base(file))
			if err := os.WriteFile(changed, text, 0o644); err != nil {
				return err
			}
			replace[filepath.Join(r.Root, filepath.FromSlash(file))] = changed
			lines[filepath.Base(changed)] = strings.Split(string(text), "\n")
			lines[filepath.Base(file)] = lines[filepath.Base(changed)]
			name = of[0].packageName
		}
		helper := filepath.Join(r.Work, switchFile)
		if err := os.WriteFile(helper, fmt.Appendf(nil, switches, name), 0o644); err != nil {
			return err
		}
		replace[filepath.Join(r.Root, r.Package, switchFile)] = helper
		binary := filepath.Join(r.Work, "switched.test")
		out, err := r.build(ctx, replace, binary, "-gcflags=-e")
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			r.switched, r.ids = binary, ids
			return nil
		}
		// Those in the lines that don't compile are compiled alone.
		dropped := 0
		for _, e := range compileError.FindAllStringSubmatch(string(out), -1) {
			text := lines[e[1]]
			n, _ := strconv.Atoi(e[2])
			// The line may be within what a switch starts above.
			for n = min(n, len(text)); n > 0; n-- {
				found := marker.FindAllStringSubmatch(text[n-1], -1)
				for _, f := range found {
					id, _ := strconv.Atoi(f[1])
					if m := byID[id]; m != nil {
						dropped++
						delete(byID, id)
						delete(ids, m)
						files[m.File] = slices.DeleteFunc(files[m.File], func(o *Mutant) bool { return o == m })
						if len(files[m.File]) == 0 {
							delete(files, m.File)
						}
					}
				}
				if len(found) > 0 {
					break
				}
			}
		}
		if dropped == 0 {
			return fmt.Errorf("the package with switches does not compile: %s", out)
		}
	}
	return nil
}

// build compiles the package's tests with some files replaced.
func (r *Runner) build(ctx context.Context, replace map[string]string, binary string, flags ...string) ([]byte, error) {
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(r.Work, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o644); err != nil {
		return nil, err
	}
	args := append([]string{"test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay", file, "-o", binary}, flags...)
	var out bytes.Buffer
	cmd := r.command(ctx, "go", append(args, "./"+r.Package)...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return out.Bytes(), err
}
