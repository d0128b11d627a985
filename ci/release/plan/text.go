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
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, value)
		}
	}
	row("tag", p.Tag)
	row("commit", strings.TrimSpace(p.Commit+"  "+p.CommitDate))
	row("previous tag", or(p.PreviousTag, "none, this is the first release"))
	row("repository", p.Repository)
	row("toolchain", p.Toolchain)
	for _, l := range p.LeftOut {
		row("excluded", fmt.Sprintf("%s: %s", l.Package, l.Why))
	}
	_ = w.Flush()

	b.WriteString("\ntargets\n")
	for _, t := range p.Targets {
		var bins []string
		for _, bin := range t.Binaries {
			bins = append(bins, bin.Name)
		}
		fmt.Fprintf(w, "  %s\t%s\tprofile %s\n", t.Target, strings.Join(bins, ", "), t.Profile)
	}
	_ = w.Flush()
	b.WriteString("\nassets\n")
	for _, a := range p.Assets {
		fmt.Fprintf(&b, "  %s\n", a)
	}
	p.imageText(&b)
	b.WriteString("\nimage tags\n")
	for _, t := range p.ImageTags {
		effect := "moves"
		switch {
		case t.Exact:
			effect = "is written once"
		case !t.Move:
			effect = "stays"
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\n", t.Tag, effect, t.Why)
	}
	_ = w.Flush()
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

// imageText renders the container image.
func (p *Plan) imageText(b *strings.Builder) {
	i := p.ContainerImage
	if i == nil {
		return
	}
	b.WriteString("\nimage\n")
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "  %s\t%s\n", name, value)
		}
	}
	entrypoint := "unknown, see below"
	if len(i.Entrypoint) > 0 {
		entrypoint = fmt.Sprintf("%s  (%s)", strings.Join(i.Entrypoint, " "), i.Why)
	}
	row("entrypoint", entrypoint)
	row("arguments", strings.Join(i.Cmd, " "))
	row("user", i.User)
	row("directory", i.Workdir)
	row("ports", strings.Join(i.Expose, ", "))
	for _, platform := range i.Platforms {
		row(platform.Platform, "on "+platform.Base)
	}
	row("repositories", or(strings.Join(i.Repositories, ", "), "none configured; pass --addresses to publish"))
	row("smoke test", i.Smoke)
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
