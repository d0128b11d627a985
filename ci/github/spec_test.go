package github

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/fakehub"
)

func TestAssetNames(t *testing.T) {
	for name, good := range map[string]bool{
		"a": true, "SHA256SUMS": true, "hello-1.2.3-x86_64-unknown-linux-gnu.tar.gz": true, "a+b_c.zip": true, "-x": true,
		"": false, ".hidden": false, "end.": false, "a b": false, "a~b": false, "a(1)": false, "ü": false, "a..b": false, "a/b": false, "a@b": false, "a:b": false,
	} {
		s := &Spec{Owner: "o", Repo: "r", Tag: "v1", Commit: strings.Repeat("a", 40), Assets: []Asset{{Name: name}}}
		require.Equal(t, good, len(s.check()) == 0, "%q: %v", name, s.check())
	}
}

func TestProblems(t *testing.T) {
	base := func() *Spec {
		return &Spec{Owner: "o", Repo: "r", Tag: "v1.0.0", Commit: strings.Repeat("a", 40), VersionOf: versionOf}
	}
	for want, edit := range map[string]func(*Spec){
		"":                    func(*Spec) {},
		"is not a repository": func(s *Spec) { s.Owner = "a/b" },
		"is not a tag":        func(s *Spec) { s.Tag = "a b" },
		"is not a commit":     func(s *Spec) { s.Commit = "abc" },
		"is a prerelease":     func(s *Spec) { s.Tag = "v1.0.0-rc.1" },
		"is not a version":    func(s *Spec) { s.Tag, s.OwnsLatest = "edge", true },
		"needs a way to read": func(s *Spec) { s.VersionOf, s.OwnsLatest = nil, true },
		"less than 2 GiB":     func(s *Spec) { s.Assets = []Asset{{Name: "a", Size: 2 << 30}} },
		"--existing=keep is unknown: pass strict": func(s *Spec) { s.Existing = "keep" },
		"takes 1000 at most":                      func(s *Spec) { s.Assets = many(1001) },
		"not among the assets":                    func(s *Spec) { s.Changelog = "CHANGELOG.md" },
		"want 1 to 100":                           func(s *Spec) { s.Dispatch = &Dispatch{EventType: strings.Repeat("x", 101)} },
		"11 keys":                                 func(s *Spec) { s.Dispatch = &Dispatch{EventType: "x", Payload: keys(11)} },
		"want an object":                          func(s *Spec) { s.Dispatch = &Dispatch{EventType: "x", Payload: []int{1}} },
		"takes less than 64 Ki":                   func(s *Spec) { s.Dispatch = &Dispatch{EventType: "x", Payload: keys(1, strings.Repeat("x", 70000))} },
	} {
		s := base()
		edit(s)
		ps := s.check()
		if want == "" {
			require.Empty(t, ps)
			continue
		}
		require.NotEmpty(t, ps, want)
		require.Contains(t, fmt.Sprint(ps), want)
	}
	for _, existing := range []Existing{"", ExistingStrict, ExistingFill, ExistingReplace} {
		s := base()
		s.Existing = existing
		require.Empty(t, s.check(), existing)
	}
	slash := base()
	slash.Tag = "foreign/go/v0.9.0-edge.4"
	slash.VersionOf = nil
	require.Empty(t, slash.check())
}

func many(n int) []Asset {
	out := make([]Asset, n)
	for i := range out {
		out[i].Name = fmt.Sprintf("a%d", i)
	}
	return out
}

func keys(n int, v ...string) map[string]string {
	m := map[string]string{}
	for i := range n {
		m[fmt.Sprint(i)] = strings.Join(v, "")
	}
	return m
}

// Notes that are too long end at a line, with the way to the rest.
func TestNotesAreCut(t *testing.T) {
	s := &Spec{Owner: "o", Repo: "r", Tag: "a/v1", Changelog: "CHANGELOG.md"}
	s.Notes = "short\r\n\n"
	body, cut := s.body("https://github.com/")
	require.False(t, cut)
	require.Equal(t, "short", body)

	for _, line := range []string{"- a change in something", "- ändern 🦀 und mehr", strings.Repeat("x", 130000)} {
		s.Notes = strings.Repeat(line+"\n", 1+200000/len(line))
		body, cut = s.body("https://github.com/")
		require.True(t, cut)
		require.LessOrEqual(t, units(body), maxBody)
		require.Greater(t, units(body), maxBody-300)
		require.True(t, strings.HasSuffix(body, "[the full changelog](https://github.com/o/r/releases/download/a/v1/CHANGELOG.md)\n"), body[len(body)-200:])
		if len(line) < 1000 {
			require.Contains(t, body, line+"\n\n… ", "cut at a line")
		}
	}
}

// The pacer admits as much as the limits allow, and nothing more.
func TestPacer(t *testing.T) {
	clock := fakehub.NewClock(time.Unix(0, 0))
	p := newPacer(limits{contentPerMinute: 3, contentPerHour: 5, pointsPerMinute: 100}, clock)
	at := func(k kind) time.Duration {
		end, err := p.acquire(t.Context(), k, func(string, time.Duration) error { return nil })
		require.NoError(t, err)
		end()
		return clock.Now().Sub(time.Unix(0, 0))
	}
	var got []time.Duration
	for range 6 {
		got = append(got, at(content))
	}
	require.Equal(t, []time.Duration{0, 0, 0, time.Minute, time.Minute, time.Hour}, got)
	require.Equal(t, time.Hour, at(read))
	p.hold(time.Minute, "a limit")
	require.Equal(t, time.Hour+time.Minute, at(read))

	// Points: 100 reads, or 20 writes.
	p = newPacer(limits{pointsPerMinute: 100, contentPerMinute: off, contentPerHour: off}, clock)
	start := at(read)
	for range 99 {
		at(read)
	}
	require.Equal(t, start, clock.Now().Sub(time.Unix(0, 0)))
	require.Equal(t, start+time.Minute, at(read))
}

// off is a limit that is never reached.
const off = 1 << 30

// A call that starts at the very end of a pause counts like any other.
func TestPacerCountsAfterAPause(t *testing.T) {
	clock := fakehub.NewClock(time.Unix(0, 0))
	p := newPacer(limits{pointsPerMinute: 5, contentPerMinute: off, contentPerHour: off}, clock)
	p.hold(time.Minute, "a limit")
	// It does not end.
	_, err := p.acquire(t.Context(), content, func(string, time.Duration) error { return nil })
	require.NoError(t, err)
	require.Equal(t, time.Minute, clock.Now().Sub(time.Unix(0, 0)))
	d, why := p.try(content)
	require.Positive(t, d)
	require.NotEmpty(t, why)
}

// Every limit, at its edge: what is just allowed, and what just isn't.
func TestLimitsOfSpecs(t *testing.T) {
	sum := strings.Repeat("0", 64)
	whole := func(edit func(*Asset)) func(*Spec) {
		return func(s *Spec) {
			a := file("a", []byte("x"))
			edit(&a)
			s.Assets = []Asset{a}
		}
	}
	payload := func(n int) func(*Spec) { // of n bytes in all
		return func(s *Spec) {
			s.Dispatch = &Dispatch{EventType: "x", Payload: map[string]string{"a": strings.Repeat("x", n-len(`{"a":""}`))}}
		}
	}
	for _, x := range []struct {
		says string
		edit func(*Spec)
	}{
		{"", func(s *Spec) { s.Assets = many(1000) }},
		{"1001 assets: GitHub takes 1000 at most", func(s *Spec) { s.Assets = many(1001) }},
		{"", func(s *Spec) { s.Assets = []Asset{{Name: "a", Size: 2<<30 - 1}} }},
		{`asset "a" has 2147483648 bytes`, func(s *Spec) { s.Assets = []Asset{{Name: "a", Size: 2 << 30}} }},
		{"", whole(func(a *Asset) { a.SHA256 = sum })},
		{`asset "a" is empty`, whole(func(a *Asset) { a.Size = 0 })},
		{`asset "a" has no SHA-256`, whole(func(a *Asset) { a.SHA256 = "" })},
		{`asset "a" has no SHA-256`, whole(func(a *Asset) { a.SHA256 = sum[:62] })},
		{`asset "a" has no SHA-256`, whole(func(a *Asset) { a.SHA256 = sum + "00" })},
		{`asset "a" has no SHA-256`, whole(func(a *Asset) { a.SHA256 = sum[:62] + "xx" })},
		{`asset names "a1" and "A1" collide`, func(s *Spec) { s.Assets = []Asset{{Name: "a1"}, {Name: "b"}, {Name: "A1"}} }},
		{"", func(s *Spec) { s.Changelog, s.Assets = "A", []Asset{{Name: "a"}} }},
		{"", func(s *Spec) { s.Dispatch = &Dispatch{EventType: strings.Repeat("ü", 100)} }},
		{"want 1 to 100 characters", func(s *Spec) { s.Dispatch = &Dispatch{EventType: strings.Repeat("ü", 101)} }},
		{`dispatch type "": want 1 to 100`, func(s *Spec) { s.Dispatch = &Dispatch{} }},
		{"", func(s *Spec) { s.Dispatch = &Dispatch{EventType: "x", Payload: keys(10)} }},
		{"dispatch payload: 11 keys", func(s *Spec) { s.Dispatch = &Dispatch{EventType: "x", Payload: keys(11)} }},
		{"", payload(65535)},
		{"dispatch payload: 65536 bytes", payload(65536)},
		{"dispatch payload: json: unsupported type", func(s *Spec) { s.Dispatch = &Dispatch{EventType: "x", Payload: make(chan int)} }},
		{"", func(s *Spec) { s.Tag, s.Prerelease = "v1.0.0-rc.1", true }},
		{"", func(s *Spec) { s.Tag = "edge" }},
		{"owning Latest needs a way to read versions", func(s *Spec) { s.VersionOf, s.OwnsLatest = nil, true }},
		{`tag "edge" is not a version`, func(s *Spec) { s.Tag, s.OwnsLatest = "edge", true }},
		{`"/r" is not a repository`, func(s *Spec) { s.Owner = "" }},
		{`"o/" is not a repository`, func(s *Spec) { s.Repo = "" }},
		{`"" is not a tag`, func(s *Spec) { s.Tag = "" }},
		{"", func(s *Spec) { s.Commit = strings.Repeat("a", 64) }},
		{"is not a commit: pass the full hash", func(s *Spec) { s.Commit = strings.Repeat("a", 41) }},
	} {
		s := &Spec{Owner: "o", Repo: "r", Tag: "v1.0.0", Commit: strings.Repeat("a", 40), VersionOf: versionOf}
		x.edit(s)
		ps := s.check()
		if x.says == "" {
			require.Empty(t, ps)
			continue
		}
		require.Len(t, ps, 1, x.says)
		require.Contains(t, ps[0].String(), x.says)
	}
}

// Notes are cut at the last line that leaves room for the end, in characters of
// UTF-16, and not before.
func TestWhereNotesAreCut(t *testing.T) {
	const tail = "\n\n…\n"
	room := maxBody - len("\n\n.\n")
	for _, x := range []struct{ notes, want string }{
		{strings.Repeat("x", maxBody), strings.Repeat("x", maxBody)},
		{strings.Repeat("🦀", maxBody/2), strings.Repeat("🦀", maxBody/2)},
		{strings.Repeat("x", maxBody+1), strings.Repeat("x", room) + tail},
		{strings.Repeat("🦀", maxBody/2) + "x", strings.Repeat("🦀", room/2) + tail},
		{"x" + strings.Repeat("🦀", maxBody/2), "x" + strings.Repeat("🦀", (room-1)/2) + tail},
		{"\uffff" + strings.Repeat("\U00010000", maxBody/2), "\uffff" + strings.Repeat("\U00010000", (room-1)/2) + tail},
		{"a\n" + strings.Repeat("x", maxBody), "a" + tail},
		{"\n" + strings.Repeat("x", maxBody), "\n" + strings.Repeat("x", room-1) + tail},
		{"a\n\n\n" + strings.Repeat("x", maxBody), "a" + tail},
	} {
		got, cut := (&Spec{Notes: x.notes}).body("")
		require.Equal(t, x.notes != x.want, cut)
		require.True(t, x.want == got, "%d and %d characters, %.20q and %.20q", units(x.want), units(got), x.want, got)
		require.LessOrEqual(t, units(got), maxBody)
	}
}
