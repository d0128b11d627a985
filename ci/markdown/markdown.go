// Package markdown writes GitHub-flavoured Markdown, such as for the summary of a CI
// job.
//
// It keeps one invariant: text from a project, a server or a program shows as it is.
// It can't end a table or a code block, start a heading, or add HTML.
package markdown

import (
	"regexp"
	"strings"
	"unicode"
)

// plain matches text that needs no escapes in a code span or a table.
var plain = regexp.MustCompile(`^[A-Za-z0-9._/:+@=,{}()"'*-]+( [A-Za-z0-9._/:+@=,{}()"'*-]+)*$`)

var escapes = strings.NewReplacer(
	"&", "&amp;", "<", "&lt;", ">", "&gt;", "|", "&#124;", "`", "&#96;", "*", "&#42;", "_", "&#95;", "~", "&#126;",
	"[", "&#91;", "]", "&#93;", `\`, "&#92;", "$", `\$`, "\r\n", "<br>", "\n", "<br>", "\r", "<br>",
)

// Text renders text within a line: in a paragraph, a list or a cell of a table, but
// not at the start of a line. It keeps line breaks.
func Text(text string) string {
	return escapes.Replace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\r' {
			return ' '
		}
		return r
	}, text))
}

// Code renders a value as code within a line; nothing for an empty one.
func Code(value string) string {
	switch {
	case value == "":
		return ""
	case plain.MatchString(value):
		return "`" + value + "`"
	}
	return "<code>" + Text(value) + "</code>"
}

// Codes renders values as code, separated by commas.
func Codes(values []string) string {
	var rendered []string
	for _, v := range values {
		rendered = append(rendered, Code(v))
	}
	return strings.Join(rendered, ", ")
}

// Table renders a table of rendered cells. The names of its columns may be empty. A
// table without rows is empty.
func Table(columns []string, rows [][]string) string {
	if len(rows) == 0 {
		return ""
	}
	var b strings.Builder
	line := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line(columns)
	b.WriteString("|" + strings.Repeat("---|", len(columns)) + "\n")
	for _, row := range rows {
		line(row)
	}
	return b.String()
}

// Block renders text of several lines as a code block.
func Block(text string) string {
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fence + "text\n" + strings.TrimRight(strings.ReplaceAll(text, "\r", ""), "\n") + "\n" + fence + "\n"
}

// address matches the line of a report that names the address of a release.
var address = regexp.MustCompile(`(?m)^at: (https?://[^\s<>]+)$`)

// Report renders a report of several lines under a heading: the address of a release
// as a link, and all of the report as a code block, where it keeps its columns.
func Report(title, report string) string {
	var b strings.Builder
	b.WriteString("### " + Text(title) + "\n\n")
	for _, found := range address.FindAllStringSubmatch(report, -1) {
		b.WriteString("<" + found[1] + ">\n\n")
	}
	b.WriteString(Block(report))
	return b.String()
}
