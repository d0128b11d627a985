package fakehub

import (
	"fmt"
	"io"
	"net/http"
)

func plainText(w http.ResponseWriter) { w.Header().Set("Content-Type", "text/plain; charset=utf-8") }

func (s *Server) stateText(w http.ResponseWriter, _ *request) {
	plainText(w)
	_, _ = io.WriteString(w, s.dump())
}

func (s *Server) callsText(w http.ResponseWriter, _ *request) {
	plainText(w)
	for _, c := range s.calls {
		fmt.Fprintf(w, "%s: %d, %d bytes", c, c.Status, c.Sent)
		if c.Fault != "" {
			fmt.Fprintf(w, ", fault: %s", c.Fault)
		}
		fmt.Fprintln(w)
	}
}

func (s *Server) eventsText(w http.ResponseWriter, _ *request) {
	plainText(w)
	for _, e := range s.events {
		fmt.Fprintf(w, "%s %s %s (%d assets, draft: %t)\n", e.Kind, e.Tag, e.Asset, len(e.Assets), e.Draft)
	}
}
