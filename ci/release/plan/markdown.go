package plan

import (
	"fmt"
	"strings"

	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/markdown"
)

// Markdown renders the plan as GitHub-flavoured Markdown, such as for the summary of
// a CI job: the problems first.
func (p *Plan) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s: %s %s is %s\n\n", markdown.Text(p.Tag), markdown.Text(p.Component), markdown.Text(p.Version), p.verdict())
	for _, severity := range []string{SeverityError, SeverityWarning} {
		for _, message := range p.Messages(severity) {
			fmt.Fprintf(&b, "- **%s:** %s\n", severity, markdown.Text(message))
		}
	}
	if len(p.Problems) > 0 {
		b.WriteString("\n")
	}
	b.WriteString(markdown.Table([]string{"", ""}, cells(p.facts())))
	section := func(title, content string) {
		if content != "" {
			fmt.Fprintf(&b, "\n### %s\n\n%s", title, content)
		}
	}
	section("Assets", p.assetTable())
	if p.ContainerImage != nil {
		section("Image", markdown.Table([]string{"", ""}, cells(p.ContainerImage.rows())))
	}
	var tags [][]string
	for _, t := range p.ImageTags {
		tags = append(tags, []string{markdown.Code(t.Tag), effect(t), markdown.Text(t.Why)})
	}
	section("Image tags", markdown.Table([]string{"tag", "effect", "why"}, tags))
	section("What happens next", p.next())
	return b.String()
}

// cells renders rows of a name and a value. It skips rows without a value.
func cells(rows [][]string) [][]string {
	var rendered [][]string
	for _, row := range rows {
		if row[1] != "" {
			rendered = append(rendered, []string{row[0], markdown.Text(row[1])})
		}
	}
	return rendered
}

// assetTable lists the assets and their contents.
func (p *Plan) assetTable() string {
	contents := map[string]string{
		manifest.ChangelogName: "the changelog of the component",
		manifest.SumsName:      "the SHA-256 of every other asset",
		manifest.FileName:      "the description of all assets, which phase 2 reads",
	}
	for _, t := range p.Targets {
		contents[t.Archive] = fmt.Sprintf("%s for %s, profile %s", markdown.Codes(t.programs()), markdown.Code(t.Target), markdown.Code(t.Profile))
		contents[t.SBOM] = "the bill of materials of " + markdown.Code(t.Archive) + ", as CycloneDX"
		contents[t.SPDX] = "the same as SPDX"
	}
	var rows [][]string
	for _, a := range p.Assets {
		rows = append(rows, []string{markdown.Code(a), contents[a]})
	}
	return markdown.Table([]string{"asset", "contents"}, rows)
}

// next lists what a release would do, in order.
func (p *Plan) next() string {
	if p.Err() != nil {
		return "Nothing is built or published until every error above is fixed.\n"
	}
	latest := "GitHub's Latest stays where it is"
	if p.Latest && p.OwnsLatest {
		latest = "GitHub's Latest moves to it"
	}
	steps := []string{
		fmt.Sprintf("`dist` builds the targets (%d) and packs the assets (%d).", len(p.Targets), len(p.Assets)),
		fmt.Sprintf("`publish` uploads the assets to a draft, compares them, and publishes %s. %s.", markdown.Code(p.Tag), latest),
	}
	if tags := p.MovedTags(); p.ContainerImage != nil {
		steps = append(steps, fmt.Sprintf("Phase 2 makes the image from the published archives and tags it %s.", markdown.Codes(tags)))
	}
	var b strings.Builder
	for i, step := range steps {
		fmt.Fprintf(&b, "%d. %s\n", i+1, step)
	}
	return b.String()
}
