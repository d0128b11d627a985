package plan

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
)

// Text renders the plan for people.
func (p *Plan) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s (%s)\n\n", p.Component, p.Version, p.Channel)
	rows := [][]string{
		{"tag", p.Tag},
		{"commit", strings.TrimSpace(p.Commit + "  " + p.CommitDate)},
		{"previous tag", or(p.PreviousTag, "none, this is the first release")},
		{"repository", p.Repository},
		{"toolchain", p.Toolchain},
	}
	for _, l := range p.LeftOut {
		rows = append(rows, []string{"excluded", fmt.Sprintf("%s: %s", l.Package, l.Why)})
	}
	writeRows(&b, "", rows)
	b.WriteString("\ntargets\n")
	rows = nil
	for _, t := range p.Targets {
		var bins []string
		for _, bin := range t.Binaries {
			bins = append(bins, bin.Name)
		}
		rows = append(rows, []string{t.Target, strings.Join(bins, ", "), "profile " + t.Profile})
	}
	writeRows(&b, "  ", rows)
	b.WriteString("\nassets\n")
	for _, a := range p.Assets {
		fmt.Fprintf(&b, "  %s\n", a)
	}
	if p.ContainerImage != nil {
		b.WriteString("\nimage\n")
		writeRows(&b, "  ", p.ContainerImage.rows())
	}
	b.WriteString("\nimage tags\n")
	rows = nil
	for _, t := range p.ImageTags {
		effect := "moves"
		switch {
		case t.Exact:
			effect = "is written once"
		case !t.Move:
			effect = "stays"
		}
		rows = append(rows, []string{t.Tag, effect, t.Why})
	}
	writeRows(&b, "  ", rows)
	for _, problem := range p.Problems {
		fmt.Fprintf(&b, "\n%s: %s\n", problem.Severity, problem.Message)
	}
	verdict := "ready to release"
	if p.Err() != nil {
		verdict = "not ready to release"
	}
	fmt.Fprintf(&b, "\n%s\n", verdict)
	return b.String()
}

// rows describes the container image.
func (i *ImagePlan) rows() [][]string {
	entrypoint := "unknown, see below"
	if len(i.Entrypoint) > 0 {
		entrypoint = fmt.Sprintf("%s  (%s)", strings.Join(i.Entrypoint, " "), i.Why)
	}
	rows := [][]string{
		{"entrypoint", entrypoint}, {"arguments", strings.Join(i.Cmd, " ")}, {"user", i.User}, {"directory", i.Workdir},
		{"ports", strings.Join(i.Expose, ", ")},
	}
	for _, platform := range i.Platforms {
		rows = append(rows, []string{platform.Platform, "on " + platform.Base})
	}
	return append(rows,
		[]string{"repositories", or(strings.Join(i.Repositories, ", "), "none configured; pass --addresses to publish")},
		[]string{"smoke test", i.Smoke})
}

// writeRows aligns the columns of rows. It skips rows without a value.
func writeRows(b *strings.Builder, indent string, rows [][]string) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		if row[1] != "" {
			fmt.Fprintln(w, indent+strings.Join(row, "\t"))
		}
	}
	_ = w.Flush()
}

// JSON renders the plan as JSON.
func (p *Plan) JSON() string { return encode(json.MarshalIndent(p, "", "  ")) + "\n" }

// Matrix renders the targets as the matrix of a CI job, in JSON on one line:
// {"include": [{"target": …}, …]}, as GitHub Actions' fromJSON and other CIs expect.
func (p *Plan) Matrix() string {
	return encode(json.Marshal(map[string]any{"include": append([]TargetPlan{}, p.Targets...)}))
}

// encode returns the result of encoding a plan, which can't fail.
func encode(text []byte, err error) string {
	if err != nil {
		panic(err)
	}
	return string(text)
}
