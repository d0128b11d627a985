package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const root = "../.."

// block is a code block of a page.
type block struct {
	page string
	line int
	// language and the rest of the line that opens the block.
	language, title string
	text            string
}

// pages returns the texts of all pages, by path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, pattern := range []string{"README.md", "SECURITY.md", "docs/*.md", "scripts/README.md"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		require.NotEmpty(t, paths, pattern)
		for _, path := range paths {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			name, err := filepath.Rel(root, path)
			require.NoError(t, err)
			found[filepath.ToSlash(name)] = string(text)
		}
	}
	return found
}

// blocksOf returns the code blocks of a page.
func blocksOf(page, text string) []block {
	var blocks []block
	var open *block
	for i, line := range strings.Split(text, "\n") {
		switch label, fence := strings.CutPrefix(strings.TrimSpace(line), "```"); {
		case fence && open == nil:
			language, title, _ := strings.Cut(label, " ")
			open = &block{page: page, line: i + 1, language: language, title: title}
		case fence:
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	if open != nil {
		blocks = append(blocks, *open)
	}
	return blocks
}

// withoutBlocks returns a page without its code.
func withoutBlocks(text string) string {
	text = regexp.MustCompile("(?ms)^```.*?^```$").ReplaceAllString(text, "")
	return regexp.MustCompile("`[^`\n]*`").ReplaceAllString(text, "")
}

// anchorsOf returns the anchors of a page's headings, as GitHub makes them.
func anchorsOf(text string) []string {
	var anchors []string
	other := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(regexp.MustCompile("(?ms)^```.*?^```$").ReplaceAllString(text, ""), -1) {
		anchors = append(anchors, strings.ReplaceAll(other.ReplaceAllString(strings.ToLower(heading[1]), ""), " ", "-"))
	}
	return anchors
}

// brokenLinks returns the links of a page that lead to no file, or to no heading of a
// page.
func brokenLinks(page, text string, pages map[string]string) []string {
	var broken []string
	for _, link := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(withoutBlocks(text), -1) {
		to, anchor, _ := strings.Cut(link[1], "#")
		if strings.HasPrefix(to, "https://") {
			continue
		}
		path := page
		if to != "" {
			path = filepath.ToSlash(filepath.Join(filepath.Dir(page), to))
		}
		if _, err := os.Stat(filepath.Join(root, path)); err != nil {
			broken = append(broken, link[1])
			continue
		}
		if anchor != "" && !slices.Contains(anchorsOf(pages[path]), anchor) {
			broken = append(broken, link[1])
		}
	}
	return broken
}

func TestLinks(t *testing.T) {
	all := pages(t)
	links := 0
	for page, text := range all {
		links += strings.Count(text, "](")
		assert.Empty(t, brokenLinks(page, text, all), page)
	}
	assert.Greater(t, links, 20)
	text := "# A `b`, c!\n[ok](README.md#a-b-c) [ok](#a-b-c) [web](https://example.com/x#y) `[code](none)` [1](none.md) [2](#none)\n```sh\n[3](none)\n# none\n```\n"
	assert.Equal(t, []string{"none.md", "#none"}, brokenLinks("README.md", text, map[string]string{"README.md": text}))
}

// Each page of docs/ is linked from the README.
func TestEveryPageIsFound(t *testing.T) {
	all := pages(t)
	for page := range all {
		if strings.HasPrefix(page, "docs/") {
			assert.Contains(t, all["README.md"], "]("+page+")", "README.md has no link to %s", page)
		}
	}
}
