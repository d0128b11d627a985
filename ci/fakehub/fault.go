package fakehub

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"time"
)

// FaultKind is a way for a call to go wrong.
type FaultKind string

// The faults. Those named "…After" carry out the call before they fail; the others
// don't.
const (
	// ServerError is a 500.
	ServerError FaultKind = "500"
	// ServerErrorAfter is a 500 after the call.
	ServerErrorAfter FaultKind = "500 after"
	// BadGateway is a 502; an upload leaves a starter asset.
	BadGateway FaultKind = "502 with starter"
	// BadGatewayAfter is a 502 after the call.
	BadGatewayAfter FaultKind = "502 after"
	// Reset breaks the connection in the middle of the request's body (an upload
	// leaves a starter asset), or else of the answer.
	Reset FaultKind = "reset in mid-body"
	// ResetAfter breaks the connection instead of answering.
	ResetAfter FaultKind = "reset after"
	// Refused is HTTP/2's REFUSED_STREAM; a reset on HTTP/1.
	Refused FaultKind = "REFUSED_STREAM"
	// RefusedAfter is REFUSED_STREAM after the call.
	RefusedAfter FaultKind = "REFUSED_STREAM after"
	// NotFound is a 404, as right after a creation.
	NotFound FaultKind = "404"
	// NotFoundPage is a 404 with a page of HTML, as from a proxy.
	NotFoundPage FaultKind = "404 page"
	// Secondary is the secondary limit: 403 with Retry-After.
	Secondary FaultKind = "403 secondary"
	// SecondaryBare is the secondary limit without Retry-After.
	SecondaryBare FaultKind = "403 secondary, bare"
	// TooMany is a 429 with Retry-After.
	TooMany FaultKind = "429"
	// Primary is the primary limit: 403 with no calls remaining, and a reset.
	Primary FaultKind = "403 primary"
	// Hang never answers.
	Hang FaultKind = "time-out"
	// HangAfter never answers a call that was carried out.
	HangAfter FaultKind = "time-out after"
	// Exists is a 422 already_exists after the call.
	Exists FaultKind = "422 already_exists"
	// LostBody is the answer without its body.
	LostBody FaultKind = "200 without body"
	// Page is a 200 with a page of HTML, after the call.
	Page FaultKind = "200 with a page"
	// Corrupt stores an upload with one bit flipped.
	Corrupt FaultKind = "corrupted"
	// Echo is a 500 that repeats the request's headers.
	Echo FaultKind = "echo"
	// Denied is a 403 that no waiting fixes.
	Denied FaultKind = "403 denied"
	// RequestTimeout is a 408, as from a proxy that gave up.
	RequestTimeout FaultKind = "408"
	// GoAway is HTTP/2's GOAWAY for a call that was not handled; a reset on HTTP/1.
	GoAway FaultKind = "GOAWAY"
	// GoAwayAfter is GOAWAY after the call, which leaves open whether it was
	// handled.
	GoAwayAfter FaultKind = "GOAWAY after"
	// StoredWrong stores an upload with one bit flipped and answers with the right
	// digest.
	StoredWrong FaultKind = "stored wrong"
	// Login is a redirect to a page that asks for a password.
	Login FaultKind = "login page"
	// Nothing injects no fault; its Do acts as a second writer in between.
	Nothing FaultKind = "second writer"
)

// Fault is a fault to inject into calls.
type Fault struct {
	Kind FaultKind
	// N is the first call to fail, counted from 1 among those that Match selects.
	// With 0, every call fails.
	N int
	// Match selects calls. By default, all.
	Match func(Call) bool
	// Times is how many calls fail. By default, 1; with -1, all.
	Times int
	// RetryAfter is the wait that a limit asks for. By default, 2 seconds.
	RetryAfter time.Duration
	// Do is called before the fault.
	Do func(Call)

	seen, met int
}

// Arm adds a fault.
func (s *Server) Arm(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Times == 0 {
		f.Times = 1
		if f.N == 0 {
			f.Times = -1
		}
	}
	f.RetryAfter = cmp.Or(f.RetryAfter, 2*time.Second)
	s.faults = append(s.faults, &f)
}

// FaultsMet returns how many calls met a fault.
func (s *Server) FaultsMet() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, f := range s.faults {
		n += f.met
	}
	return n
}

// pick returns the fault for a call, or nil. The lock is held.
func (s *Server) pick(c *Call) *Fault {
	var found *Fault
	for _, f := range s.faults {
		if f.Match != nil && !f.Match(*c) {
			continue
		}
		f.seen++
		if found == nil && f.seen >= f.N && (f.Times < 0 || f.met < f.Times) {
			f.met++
			found = f
		}
	}
	return found
}

// fail answers a call as its fault says. work does what the call asks.
func (s *Server) fail(w http.ResponseWriter, req *request, f *Fault, work func(http.ResponseWriter)) {
	if f.Do != nil {
		f.Do(*req.call)
	}
	req.corrupt, req.storedWrong = f.Kind == Corrupt, f.Kind == StoredWrong
	if req.corrupt || req.storedWrong || f.Kind == Nothing {
		work(w)
		return
	}
	done := httptest.NewRecorder()
	switch upload := req.r.ContentLength > 0; {
	case f.Kind.after() || f.Kind == Reset && !upload:
		work(done)
	case f.Kind == Reset:
		req.read(req.r.ContentLength / 2)
	case f.Kind != Refused && f.Kind != GoAway:
		req.drain()
	}
	if f.Kind == BadGateway || f.Kind == Reset && req.r.ContentLength > 0 {
		s.leaveStarter(req)
	}
	if f.Kind.breaks() {
		s.breakOff(w, req, f, done)
		panic(http.ErrAbortHandler)
	}
	s.answerFault(w, req, f, done)
}

// after reports whether what was asked is done before the call fails.
func (k FaultKind) after() bool {
	return strings.HasSuffix(string(k), " after") || slices.Contains([]FaultKind{Exists, LostBody, Page}, k)
}

// breaks reports whether the call gets no answer.
func (k FaultKind) breaks() bool {
	return slices.Contains([]FaultKind{Reset, ResetAfter, Refused, RefusedAfter, Hang, HangAfter, GoAway, GoAwayAfter}, k)
}

// breakOff does what comes before the end of a connection.
func (s *Server) breakOff(w http.ResponseWriter, req *request, f *Fault, done *httptest.ResponseRecorder) {
	switch f.Kind {
	case Reset:
		if req.r.ContentLength <= 0 {
			sendHalf(w, done)
		}
	case Refused, RefusedAfter:
		refuse(req.r)
	case Hang, HangAfter:
		select {
		case <-req.r.Context().Done():
		case <-s.closed:
		}
	case GoAway:
		sendAway(req.r, 0)
	case GoAwayAfter:
		sendAway(req.r, 1<<31-1)
	}
}

// answerFault answers a call that fails with an answer.
func (s *Server) answerFault(w http.ResponseWriter, req *request, f *Fault, done *httptest.ResponseRecorder) {
	h := w.Header()
	switch f.Kind {
	case ServerError, ServerErrorAfter:
		apiError(w, 500, "Server Error", "")
	case BadGateway, BadGatewayAfter:
		htmlPage(w, 502, "502 Bad Gateway")
	case NotFound:
		notFound(w)
	case NotFoundPage:
		htmlPage(w, 404, "404 Not Found")
	case SecondaryBare:
		secondaryLimit(w, 403)
	case Secondary, TooMany:
		h.Set("Retry-After", seconds(f.RetryAfter))
		secondaryLimit(w, map[FaultKind]int{Secondary: 403, TooMany: 429}[f.Kind])
	case Primary:
		h.Set("X-RateLimit-Remaining", "0")
		h.Set("X-RateLimit-Reset", strconv.FormatInt(s.cfg.Now().Add(f.RetryAfter).Unix(), 10))
		primaryLimit(w)
	case Exists:
		field, resource := "name", "ReleaseAsset"
		if req.call.Host == "api" {
			field, resource = "tag_name", "Release"
		}
		validationFailed(w, resource, field, "already_exists", "")
	case LostBody:
		maps.Copy(w.Header(), done.Header())
		h.Del("Content-Length")
		w.WriteHeader(done.Code)
	case Page:
		htmlPage(w, 200, "Unicorn!")
	case RequestTimeout:
		apiError(w, 408, "Request Timeout", "")
	case Login:
		login(w, req.r)
	case Echo:
		all, _ := json.Marshal(req.r.Header)
		h.Set("X-Echo", req.r.Header.Get("Authorization"))
		apiError(w, 500, "bad request: "+string(all), "")
	case Denied:
		// Go's client may report the end of the connection in place of an answer that
		// comes before it has sent everything.
		_, _ = io.Copy(io.Discard, req.r.Body)
		apiError(w, 403, "Resource not accessible by integration", "")
	default:
		panic(fmt.Sprintf("fakehub: unknown fault %q", f.Kind))
	}
}

// leaveStarter makes the empty asset that a failed upload leaves behind.
func (s *Server) leaveStarter(req *request) {
	if req.call.Op != "upload asset" || req.repo == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rel := req.repo.byID(req.id)
	if rel == nil || rel.immutable && !rel.draft {
		return
	}
	name := rewriteName(req.r.URL.Query().Get("name"))
	if rel.asset(name) != nil {
		return
	}
	s.newAsset(rel, name, "", req.r.Header.Get("Content-Type"))
	s.event("starter", rel, name)
}

// sendHalf announces a whole answer and sends half of it.
func sendHalf(w http.ResponseWriter, rec *httptest.ResponseRecorder) {
	maps.Copy(w.Header(), rec.Header())
	body := rec.Body.Bytes()
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(rec.Code)
	_, _ = w.Write(bytes.Clone(body[:len(body)/2]))
	_ = http.NewResponseController(w).Flush()
}

func seconds(d time.Duration) string {
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}
