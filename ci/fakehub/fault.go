package fakehub

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"time"
)

// FaultKind is a way for a call to go wrong.
type FaultKind string

// The faults. Those that end in "after" do what was asked before they fail;
// the others don't do it.
const (
	// ServerError is a 500.
	ServerError FaultKind = "500"
	// ServerErrorAfter is a 500 for something that was done.
	ServerErrorAfter FaultKind = "500 after"
	// BadGateway is a 502; an upload leaves a starter asset.
	BadGateway FaultKind = "502 with starter"
	// BadGatewayAfter is a 502 for something that was done.
	BadGatewayAfter FaultKind = "502 after"
	// Reset breaks the connection in mid-body: that of the request where there
	// is one (an upload leaves a starter asset), else that of the answer.
	Reset FaultKind = "reset in mid-body"
	// ResetAfter breaks the connection instead of answering something done.
	ResetAfter FaultKind = "reset after"
	// Refused is HTTP/2's REFUSED_STREAM; a reset on HTTP/1.
	Refused FaultKind = "REFUSED_STREAM"
	// RefusedAfter is REFUSED_STREAM for something that was done.
	RefusedAfter FaultKind = "REFUSED_STREAM after"
	// NotFound is a 404, as right after a creation.
	NotFound FaultKind = "404"
	// NotFoundPage is a 404 that is a page of HTML, as from something between.
	NotFoundPage FaultKind = "404 page"
	// Secondary is the secondary limit: 403 with Retry-After.
	Secondary FaultKind = "403 secondary"
	// SecondaryBare is the secondary limit without Retry-After.
	SecondaryBare FaultKind = "403 secondary, bare"
	// TooMany is a 429 with Retry-After.
	TooMany FaultKind = "429"
	// Primary is the primary limit: 403 with nothing remaining, and a reset.
	Primary FaultKind = "403 primary"
	// Hang never answers.
	Hang FaultKind = "time-out"
	// HangAfter never answers something that was done.
	HangAfter FaultKind = "time-out after"
	// Exists is a 422 already_exists for something that was done.
	Exists FaultKind = "422 already_exists"
	// LostBody is the answer with no body.
	LostBody FaultKind = "200 without body"
	// Page is a 200 with a page of HTML, for something that was done.
	Page FaultKind = "200 with a page"
	// Corrupt stores an upload with one bit flipped.
	Corrupt FaultKind = "corrupted"
	// Echo is a 500 that repeats the request's headers.
	Echo FaultKind = "echo"
	// Denied is a 403 that no waiting cures.
	Denied FaultKind = "403 denied"
	// RequestTimeout is a 408, as from something between that gave up waiting.
	RequestTimeout FaultKind = "408"
	// GoAway is HTTP/2's GOAWAY, which says that the call was not looked at; a
	// reset on HTTP/1.
	GoAway FaultKind = "GOAWAY"
	// GoAwayAfter is GOAWAY for something that was done, which leaves open
	// whether it was.
	GoAwayAfter FaultKind = "GOAWAY after"
	// StoredWrong stores an upload with one bit flipped and answers as if it
	// hadn't.
	StoredWrong FaultKind = "stored wrong"
	// Login is a redirect to a page that asks for a password.
	Login FaultKind = "login page"
	// Nothing lets the call through: its Do plays a second writer that gets in
	// between.
	Nothing FaultKind = "second writer"
)

// Fault is a fault that waits for a call.
type Fault struct {
	Kind FaultKind
	// N is the number of the call that meets the fault, counted from 1 among
	// those that Match lets through. With 0, every call meets it.
	N int
	// Match picks calls. By default, any.
	Match func(Call) bool
	// Times is how many calls meet the fault from the N-th on. By default, 1;
	// with -1, all.
	Times int
	// RetryAfter is what a limit says. By default, 2 seconds.
	RetryAfter time.Duration
	// Do is called when the fault is met, before it happens.
	Do func(Call)

	seen, met int
}

// Arm sets a fault up.
func (s *Server) Arm(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Times == 0 {
		f.Times = 1
		if f.N == 0 {
			f.Times = -1
		}
	}
	if f.RetryAfter == 0 {
		f.RetryAfter = 2 * time.Second
	}
	s.faults = append(s.faults, &f)
}

// FaultsMet counts the calls that met an armed fault.
func (s *Server) FaultsMet() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, f := range s.faults {
		n += f.met
	}
	return n
}

// pick finds the fault for a call. The lock is held.
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
	do := func() *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		work(rec)
		return rec
	}
	switch f.Kind {
	case ServerError:
		req.drain()
		apiError(w, 500, "Server Error", "")
	case ServerErrorAfter:
		do()
		apiError(w, 500, "Server Error", "")
	case BadGateway:
		req.drain()
		s.leaveStarter(req)
		htmlPage(w, 502, "502 Bad Gateway")
	case BadGatewayAfter:
		do()
		htmlPage(w, 502, "502 Bad Gateway")
	case Reset:
		if req.r.ContentLength > 0 {
			req.read(req.r.ContentLength / 2)
			s.leaveStarter(req)
			panic(http.ErrAbortHandler)
		}
		sendHalf(w, do())
		panic(http.ErrAbortHandler)
	case ResetAfter:
		do()
		panic(http.ErrAbortHandler)
	case Refused:
		refuse(req.r)
		panic(http.ErrAbortHandler)
	case RefusedAfter:
		do()
		refuse(req.r)
		panic(http.ErrAbortHandler)
	case NotFound:
		req.drain()
		notFound(w)
	case NotFoundPage:
		req.drain()
		htmlPage(w, 404, "404 Not Found")
	case Secondary, SecondaryBare:
		req.drain()
		if f.Kind == Secondary {
			w.Header().Set("Retry-After", seconds(f.RetryAfter))
		}
		secondaryLimit(w, 403)
	case TooMany:
		req.drain()
		w.Header().Set("Retry-After", seconds(f.RetryAfter))
		secondaryLimit(w, 429)
	case Primary:
		req.drain()
		w.Header().Set("X-RateLimit-Remaining", "0")
		w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(s.cfg.Now().Add(f.RetryAfter).Unix(), 10))
		apiError(w, 403, "API rate limit exceeded for user ID 1.", "rate-limits-for-the-rest-api")
	case Hang:
		req.drain()
		s.hang(req.r)
	case HangAfter:
		do()
		s.hang(req.r)
	case Exists:
		do()
		field, resource := "name", "ReleaseAsset"
		if req.call.Host == "api" {
			field, resource = "tag_name", "Release"
		}
		validationFailed(w, resource, field, "already_exists", "")
	case LostBody:
		rec := do()
		copyHeader(w, rec)
		w.Header().Del("Content-Length")
		w.WriteHeader(rec.Code)
	case Page:
		do()
		htmlPage(w, 200, "Unicorn!")
	case Corrupt:
		req.corrupt = true
		work(w)
	case StoredWrong:
		req.storedWrong = true
		work(w)
	case RequestTimeout:
		req.drain()
		apiError(w, 408, "Request Timeout", "")
	case GoAway:
		sendAway(req.r, 0)
		panic(http.ErrAbortHandler)
	case GoAwayAfter:
		do()
		sendAway(req.r, 1<<31-1)
		panic(http.ErrAbortHandler)
	case Login:
		req.drain()
		login(w, req.r)
	case Nothing:
		work(w)
	case Echo:
		req.drain()
		all, _ := json.Marshal(req.r.Header)
		w.Header().Set("X-Echo", req.r.Header.Get("Authorization"))
		apiError(w, 500, "bad request: "+string(all), "")
	case Denied:
		req.drain()
		apiError(w, 403, "Resource not accessible by integration", "")
	default:
		panic(fmt.Sprintf("fakehub: unknown fault %q", f.Kind))
	}
}

// leaveStarter makes the empty asset that a failed upload leaves behind.
func (s *Server) leaveStarter(req *request) {
	if req.op != "upload asset" || req.repo == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rel := req.repo.byID(req.id)
	if rel == nil || rel.immutable && !rel.draft {
		return
	}
	name := rewriteName(req.r.URL.Query().Get("name"))
	for _, a := range rel.assets {
		if a.name == name {
			return
		}
	}
	s.newAsset(rel, name, "", req.r.Header.Get("Content-Type"))
	s.event("starter", rel, name)
}

func (s *Server) hang(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-s.closed:
	}
	panic(http.ErrAbortHandler)
}

func copyHeader(w http.ResponseWriter, rec *httptest.ResponseRecorder) {
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
}

// sendHalf announces a whole answer and sends half of it.
func sendHalf(w http.ResponseWriter, rec *httptest.ResponseRecorder) {
	copyHeader(w, rec)
	body := rec.Body.Bytes()
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(rec.Code)
	_, _ = w.Write(bytes.Clone(body[:len(body)/2]))
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
}

func seconds(d time.Duration) string {
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}
