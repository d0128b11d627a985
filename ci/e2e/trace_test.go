package e2e

import (
	"compress/gzip"
	"encoding/base64"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// trace is what the engine said that it did: every span of a call.
type trace struct {
	mu sync.Mutex
	// names of the spans, by their ids: a span is sent when it begins, and again
	// when it ends.
	names map[string]string
	// execs are the commands of those that ran a container.
	execs map[string]string
	raw   strings.Builder
}

// traced makes a call whose trace goes to a collector of this test's own.
func traced(t *testing.T, args ...string) (result, *trace) {
	t.Helper()
	tr := &trace{names: map[string]string{}, execs: map[string]string{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(r.Body)
			if !assert.NoError(t, err) {
				return
			}
			body = z
		}
		text, err := io.ReadAll(body)
		assert.NoError(t, err)
		tr.mu.Lock()
		defer tr.mu.Unlock()
		tr.raw.Write(text)
		if !strings.HasSuffix(r.URL.Path, "/v1/traces") {
			return // logs and metrics: only the text counts
		}
		var request collector.ExportTraceServiceRequest
		if !assert.NoError(t, proto.Unmarshal(text, &request)) {
			return
		}
		for _, resource := range request.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				for _, span := range scope.Spans {
					tr.names[string(span.SpanId)] = span.Name
					if span.Name == "Container.withExec" {
						tr.execs[string(span.SpanId)] = commandOf(span)
					}
				}
			}
		}
	}))
	t.Cleanup(server.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
	got := call(t, args...)
	tr.mu.Lock()
	defer tr.mu.Unlock()
	require.NotEmpty(t, tr.names, "no trace arrived")
	return got, tr
}

// commandOf a span that ran a container: its words, out of the call that Dagger
// attaches to each span as an encoded message.
func commandOf(span *tracev1.Span) string {
	for _, a := range span.Attributes {
		if a.Key != "dagger.io/dag.call" {
			continue
		}
		text, err := base64.StdEncoding.DecodeString(a.Value.GetStringValue())
		if err != nil {
			return err.Error()
		}
		words := strings.Join(regexp.MustCompile(`[[:print:]]{2,}`).FindAllString(string(text), -1), " ")
		_, command, _ := strings.Cut(words, " args ")
		return command
	}
	return "a command that the trace does not tell"
}

// containers that were run, by their commands, less what loads the module.
func (tr *trace) containers() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Values(tr.execs)), func(command string) bool { return strings.HasPrefix(command, "codegen ") })
}
