package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Mutant is one change of product code. Its key identifies it by what is
// changed, not by where the line is today.
type Mutant struct {
	Package  string // directory relative to the module, such as ci/archive
	File     string // relative to the module
	Function string // Name, Type.Name or the name of a variable
	Operator string
	Old, New string // for people and the key: one line, shortened
	Nth      int    // counts mutants that are otherwise the same, from 1

	Line, Column int
	start, end   int // bytes of the file that text replaces
	text         string
	source       []byte // of the whole file
	functionHash string // of the function's source

	firstLine, lastLine int // of the function

	// How to put it behind a switch.
	form               form
	nodeStart, nodeEnd int
	packageName        string
	alt                string
	operators          [2]string
	operands           [4]int
}

// Key identifies the mutant in results and in the list of equivalent ones.
func (m *Mutant) Key() string {
	key := fmt.Sprintf("%s %s %s: %s", m.File, m.Function, m.Operator, m.Old)
	if m.New != "" {
		key += " → " + m.New
	}
	if m.Nth > 1 {
		key += fmt.Sprintf(" #%d", m.Nth)
	}
	return key
}

// Apply returns the file's source with the change made.
func (m *Mutant) Apply() []byte {
	return slices.Concat(m.source[:m.start], []byte(m.text), m.source[m.end:])
}

// Find returns every mutant of the package in a directory of the module, in the
// order of the source. Tests are never changed.
func Find(root, pkg string) ([]*Mutant, error) {
	files, err := filepath.Glob(filepath.Join(root, pkg, "*.go"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	var all []*Mutant
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, source, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		if ast.IsGenerated(file) {
			continue
		}
		f := finder{fset: fset, source: source, pkg: pkg, packageName: file.Name.Name, file: filepath.ToSlash(filepath.Join(pkg, filepath.Base(path)))}
		for _, d := range file.Decls {
			f.declaration(d)
		}
		all = append(all, f.found...)
	}
	seen := map[string]int{}
	for _, m := range all {
		m.Nth = 0
		key := m.Key()
		seen[key]++
		m.Nth = seen[key]
	}
	return all, nil
}

type finder struct {
	fset      *token.FileSet
	source    []byte
	pkg, file string
	function  string
	hash      string
	around    ast.Node
	failure   string // what err was last set to
	statement ast.Node

	packageName string
	results     []*ast.FieldList // of the functions around the node, innermost last
	found       []*Mutant
}

func (f *finder) declaration(d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Body == nil {
			return
		}
		f.function = d.Name.Name
		if d.Recv != nil && len(d.Recv.List) == 1 {
			f.function = receiver(d.Recv.List[0].Type) + "." + d.Name.Name
		}
		f.around, f.hash = d, hash(f.raw(d))
		f.walk(d.Body, d.Type.Results)
	case *ast.GenDecl:
		for _, s := range d.Specs {
			if v, ok := s.(*ast.ValueSpec); ok && d.Tok == token.VAR {
				f.function = v.Names[0].Name
				f.around, f.hash = v, hash(f.raw(v))
				for _, value := range v.Values {
					f.walk(value, nil)
				}
			}
		}
	}
}

func receiver(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiver(t.X)
	case *ast.IndexExpr:
		return receiver(t.X)
	case *ast.IndexListExpr:
		return receiver(t.X)
	case *ast.Ident:
		return t.Name
	}
	return "?"
}

// walk finds the mutants below a node of a function with these results.
func (f *finder) walk(n ast.Node, results *ast.FieldList) {
	if len(f.results) == 0 {
		f.failure = ""
	}
	f.results = append(f.results, results)
	defer func() { f.results = f.results[:len(f.results)-1] }()
	ast.Inspect(n, func(n ast.Node) bool {
		switch n.(type) {
		case *ast.ReturnStmt, *ast.AssignStmt:
			f.statement = n
		}
		switch n := n.(type) {
		case *ast.FuncLit:
			f.walk(n.Body, n.Type.Results)
			return false
		case *ast.IfStmt:
			f.condition(n.Cond)
		case *ast.BinaryExpr:
			f.binary(n)
		case *ast.CallExpr:
			f.call(n)
		case *ast.Ident:
			switch n.Name {
			case "true":
				f.constant(n, "false")
			case "false":
				f.constant(n, "true")
			}
		case *ast.IncDecStmt:
			token := map[token.Token]string{token.INC: "--", token.DEC: "++"}[n.Tok]
			m := f.replace(n, "arithmetic", f.raw(n.X)+token)
			m.form, m.alt = statement, m.text
		case *ast.ReturnStmt:
			f.returned(n)
		case *ast.ExprStmt:
			if call, ok := n.X.(*ast.CallExpr); ok && !isName(call.Fun, "panic") {
				f.remove(n)
			}
		case *ast.AssignStmt:
			f.assignment(n)
		case *ast.SwitchStmt:
			f.cases(n.Body, n.Tag == nil)
		case *ast.TypeSwitchStmt:
			f.cases(n.Body, false)
		}
		return true
	})
}

// constant turns true and false around. The key has the statement that it is in.
func (f *finder) constant(n *ast.Ident, other string) {
	m := f.replace(n, "constant", other)
	m.form = constant
	if s := f.statement; s != nil && s.Pos() <= n.Pos() && n.End() <= s.End() {
		m.New += " in " + shorten(f.raw(s))
		if r, ok := s.(*ast.ReturnStmt); ok && isName(r.Results[len(r.Results)-1], "err") {
			m.New += " of " + shorten(f.failure)
		}
	}
}

// condition turns a condition around, and makes it never true. One that only
// asks for an error is left to the operator that returns nil in its place:
// turning it around would be noticed by any test at all.
func (f *finder) condition(cond ast.Expr) {
	c, ok := cond.(*ast.BinaryExpr)
	if ok && c.Op == token.NEQ && isName(c.Y, "nil") && isName(c.X, "err") {
		return
	}
	if !ok || c.Op != token.EQL && c.Op != token.NEQ { // f.binary turns those around
		f.replace(cond, "negated", "!("+f.raw(cond)+")").form = boolean
	}
	f.replace(cond, "never", "false && ("+f.raw(cond)+")").form = boolean
}

var swapped = map[token.Token][2]string{
	token.EQL:  {"negated", "!="},
	token.NEQ:  {"negated", "=="},
	token.LSS:  {"boundary", "<="},
	token.LEQ:  {"boundary", "<"},
	token.GTR:  {"boundary", ">="},
	token.GEQ:  {"boundary", ">"},
	token.LAND: {"logical", "||"},
	token.LOR:  {"logical", "&&"},
	token.ADD:  {"arithmetic", "-"},
	token.SUB:  {"arithmetic", "+"},
	token.MUL:  {"arithmetic", "/"},
	token.QUO:  {"arithmetic", "*"},
	token.REM:  {"arithmetic", "*"},
	token.SHL:  {"arithmetic", ">>"},
	token.SHR:  {"arithmetic", "<<"},
	token.AND:  {"arithmetic", "|"},
	token.OR:   {"arithmetic", "&"},
}

func (f *finder) binary(n *ast.BinaryExpr) {
	to, ok := swapped[n.Op]
	if !ok {
		return
	}
	switch {
	case n.Op == token.ADD && (f.isText(n.X) || f.isText(n.Y)):
		return // joins strings
	case n.Op == token.NEQ && isName(n.X, "err") && isName(n.Y, "nil"):
		return // see condition
	}
	if n.Op == token.EQL || n.Op == token.NEQ {
		f.literal(n.X)
		f.literal(n.Y)
	}
	x, y := f.raw(n.X), f.raw(n.Y)
	// In parentheses, since || binds less than &&.
	m := f.replace(n, to[0], "("+x+") "+to[1]+" ("+y+")")
	m.New = shorten(x + " " + to[1] + " " + y)
	switch {
	case to[0] != "arithmetic":
		m.form = boolean
	case n.Op != token.SHL && n.Op != token.SHR:
		m.form = integer
		m.operators = [2]string{n.Op.String(), to[1]}
		m.operands = [4]int{f.offset(n.X.Pos()), f.offset(n.X.End()), f.offset(n.Y.Pos()), f.offset(n.Y.End())}
	}
}

// Functions of strings and slices whose literals decide something.
var deciders = []string{"HasPrefix", "HasSuffix", "Contains", "EqualFold", "Cut", "CutPrefix", "CutSuffix", "TrimPrefix", "TrimSuffix", "Index", "LastIndex", "Equal"}

func (f *finder) call(n *ast.CallExpr) {
	if s, ok := n.Fun.(*ast.SelectorExpr); ok && (isName(s.X, "strings") || isName(s.X, "bytes") || isName(s.X, "slices")) && slices.Contains(deciders, s.Sel.Name) {
		for _, a := range n.Args {
			f.literal(a)
		}
	}
}

// literal changes a string that something is compared with.
func (f *finder) literal(e ast.Expr) {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return
	}
	if s, err := strconv.Unquote(l.Value); err == nil {
		f.replace(l, "string", strconv.Quote(s+"~")).form = literal
	}
}

// isText reports whether an operand is visibly a string.
func (f *finder) isText(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BasicLit:
		return e.Kind == token.STRING
	case *ast.BinaryExpr:
		return f.isText(e.X) || f.isText(e.Y)
	case *ast.ParenExpr:
		return f.isText(e.X)
	}
	return false
}

// returned makes a function that failed return no error. The expression stays
// in the code, so that its variables remain used.
func (f *finder) returned(n *ast.ReturnStmt) {
	results := f.results[len(f.results)-1]
	if results == nil || len(n.Results) == 0 || !isName(results.List[len(results.List)-1].Type, "error") {
		return
	}
	last := n.Results[len(n.Results)-1]
	if isName(last, "nil") || len(n.Results) == 1 && results.NumFields() > 1 {
		return
	}
	// `return f(x)` may well be the function's success: its effects stay.
	m := f.replace(last, "no error", "func(error) error { return nil }("+f.raw(last)+")")
	m.form = failure
	m.Old, m.New = shorten(f.raw(n)), ""
	if isName(last, "err") { // many returns look like this one
		m.Old += " of " + shorten(f.failure)
	}
}

// assignment removes appends and assignments to something that outlives the
// function, and turns += and -= around.
func (f *finder) assignment(n *ast.AssignStmt) {
	if isName(n.Lhs[len(n.Lhs)-1], "err") {
		f.failure = f.raw(n.Rhs[len(n.Rhs)-1])
	}
	turned := map[token.Token]string{token.ADD_ASSIGN: "-=", token.SUB_ASSIGN: "+=", token.MUL_ASSIGN: "/=", token.OR_ASSIGN: "&=", token.AND_ASSIGN: "|="}
	if to, ok := turned[n.Tok]; ok {
		if f.isText(n.Rhs[0]) {
			f.remove(n)
			return
		}
		m := f.replace(n, "arithmetic", f.raw(n.Lhs[0])+" "+to+" "+f.raw(n.Rhs[0]))
		m.form, m.alt = statement, m.text
		return
	}
	if n.Tok != token.ASSIGN {
		return
	}
	appends := false
	if call, ok := n.Rhs[0].(*ast.CallExpr); ok {
		appends = isName(call.Fun, "append")
	}
	switch n.Lhs[0].(type) {
	case *ast.SelectorExpr, *ast.IndexExpr, *ast.StarExpr:
		f.remove(n)
	default:
		if appends {
			f.remove(n)
		}
	}
}

// remove takes a statement out of the program's flow, and leaves it in the code
// for its variables to remain used.
func (f *finder) remove(n ast.Node) {
	m := f.replace(n, "removed", "if false { "+f.raw(n)+" }")
	m.form, m.New = statement, ""
}

// cases drops each case of a switch, and each expression of a case that has
// several.
func (f *finder) cases(body *ast.BlockStmt, conditions bool) {
	for _, s := range body.List {
		c, ok := s.(*ast.CaseClause)
		if !ok || len(c.List) == 0 {
			continue
		}
		m := f.replace(c, "case dropped", "")
		label := string(f.source[f.offset(c.Pos()):f.offset(c.Colon)])
		m.Old, m.New = shorten(label), ""
		behind := func(m *Mutant, e ast.Expr) {
			if conditions {
				m.form, m.nodeStart, m.nodeEnd = selection, f.offset(e.Pos()), f.offset(e.End())
			}
		}
		if len(c.List) == 1 {
			behind(m, c.List[0])
			continue
		}
		for i, e := range c.List {
			// From the expression to the next, or from the one before.
			start, end := e.Pos(), e.End()
			if i+1 < len(c.List) {
				end = c.List[i+1].Pos()
			} else {
				start = c.List[i-1].End()
			}
			m := f.edit(e, f.offset(start), f.offset(end), "case dropped", "")
			m.Old, m.New = shorten(f.raw(e))+" of "+shorten(label), ""
			behind(m, e)
		}
	}
}

func (f *finder) replace(n ast.Node, operator, text string) *Mutant {
	return f.edit(n, f.offset(n.Pos()), f.offset(n.End()), operator, text)
}

func (f *finder) edit(n ast.Node, start, end int, operator, text string) *Mutant {
	p := f.fset.Position(n.Pos())
	m := &Mutant{
		nodeStart: f.offset(n.Pos()), nodeEnd: f.offset(n.End()), packageName: f.packageName,
		Package: f.pkg, File: f.file, Function: f.function, Operator: operator,
		Old: shorten(f.raw(n)), New: shorten(text),
		Line: p.Line, Column: p.Column, start: start, end: end, text: text, source: f.source, functionHash: f.hash,
		firstLine: f.fset.Position(f.around.Pos()).Line, lastLine: f.fset.Position(f.around.End()).Line,
	}
	f.found = append(f.found, m)
	return m
}

func (f *finder) offset(p token.Pos) int { return f.fset.Position(p).Offset }

func (f *finder) raw(n ast.Node) string {
	return string(f.source[f.offset(n.Pos()):f.offset(n.End())])
}

func isName(e ast.Expr, name string) bool {
	i, ok := e.(*ast.Ident)
	return ok && i.Name == name
}

// shorten makes one line of code, with a hash in place of what is too long.
func shorten(code string) string {
	const most = 110
	line := strings.Join(strings.Fields(code), " ")
	if len(line) <= most {
		return line
	}
	short := bytes.ToValidUTF8([]byte(line[:most-12]), nil)
	return string(short) + "…" + hash(line)[:8]
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
