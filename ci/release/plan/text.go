package plan

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"dagger/gantry/ci/version"
)

// Text renders the plan for people.
func (p *Plan) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s (%s)\n\n", p.Component, p.Version, p.Channel)
	writeRows(&b, "", p.facts())
	b.WriteString("\ntargets\n")
	var rows [][]string
	for _, t := range p.Targets {
		rows = append(rows, []string{t.Target, strings.Join(t.programs(), ", "), "profile " + t.Profile})
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
		rows = append(rows, []string{t.Tag, effect(t), t.Why})
	}
	writeRows(&b, "  ", rows)
	for _, problem := range p.Problems {
		fmt.Fprintf(&b, "\n%s: %s\n", problem.Severity, problem.Message)
	}
	fmt.Fprintf(&b, "\n%s\n", p.verdict())
	return b.String()
}

func (p *Plan) verdict() string {
	if p.Err() != nil {
		return "not ready to release"
	}
	return "ready to release"
}

// facts describes the tag and its source.
func (p *Plan) facts() [][]string {
	facts := [][]string{
		{"tag", p.Tag},
		{"commit", strings.TrimSpace(p.Commit + "  " + p.CommitDate)},
		{"previous tag", cmp.Or(p.PreviousTag, "none, this is the first release")},
		{"repository", p.Repository},
		{"toolchain", p.Toolchain},
		{"signature", p.signing()},
	}
	for _, l := range p.LeftOut {
		facts = append(facts, []string{"excluded", fmt.Sprintf("%s: %s", l.Package, l.Why)})
	}
	return facts
}

// programs returns the names of the target's binaries.
func (t TargetPlan) programs() []string {
	var names []string
	for _, bin := range t.Binaries {
		names = append(names, bin.Name)
	}
	return names
}

// effect describes what happens to a tag of the image.
func effect(t version.ImageTag) string {
	switch {
	case t.Exact:
		return "is written once"
	case t.Move:
		return "moves"
	default:
		return "stays"
	}
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
		[]string{"repositories", cmp.Or(strings.Join(i.Repositories, ", "), "none configured; pass --addresses to publish")},
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
