package fakehub

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// spending is the usage of one token.
type spending struct {
	content []time.Time // of requests that create content
	points  []spent     // within the minute
	start   time.Time   // of the hour of the primary limit
	used    int
}

type spent struct {
	at     time.Time
	points int
}

// admit charges a call, or answers one that a limit refuses. The lock is held.
func (s *Server) admit(w http.ResponseWriter, who string, c *Call) bool {
	sp := s.spent[who]
	if sp == nil {
		sp = &spending{start: s.cfg.Now()}
		s.spent[who] = sp
	}
	return s.admitPrimary(w, sp) && s.admitSecondary(w, sp, c)
}

// admitPrimary charges a call to the hour.
func (s *Server) admitPrimary(w http.ResponseWriter, sp *spending) bool {
	now := s.cfg.Now()
	if now.Sub(sp.start) >= time.Hour {
		sp.start, sp.used = now, 0
	}
	limit := cmp.Or(s.cfg.Limits.RequestsPerHour, 5000)
	exceeded := s.cfg.Limits.RequestsPerHour > 0 && sp.used >= limit
	if !exceeded {
		sp.used++
	}
	h := w.Header()
	h.Set("X-RateLimit-Limit", strconv.Itoa(limit))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(max(0, limit-sp.used)))
	h.Set("X-RateLimit-Used", strconv.Itoa(sp.used))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(sp.start.Add(time.Hour).Unix(), 10))
	h.Set("X-RateLimit-Resource", "core")
	if exceeded {
		s.hits.Primary++
		primaryLimit(w)
	}
	return !exceeded
}

// admitSecondary charges a call to the secondary limits.
func (s *Server) admitSecondary(w http.ResponseWriter, sp *spending, c *Call) bool {
	now, lim := s.cfg.Now(), s.cfg.Limits
	refuse := func(counter *int, free time.Time) bool {
		*counter++
		w.Header().Set("Retry-After", seconds(max(time.Second, free.Sub(now))))
		secondaryLimit(w, 403)
		return false
	}
	if lim.Concurrent > 0 && s.active > lim.Concurrent {
		return refuse(&s.hits.Concurrent, now.Add(time.Second))
	}
	points := 1
	if c.Write {
		points = 5
	}
	total := points
	sp.points = slices.DeleteFunc(sp.points, func(p spent) bool { return now.Sub(p.at) >= time.Minute })
	for _, p := range sp.points {
		total += p.points
	}
	if lim.PointsPerMinute > 0 && total > lim.PointsPerMinute {
		return refuse(&s.hits.Points, sp.points[0].at.Add(time.Minute))
	}
	sp.points = append(sp.points, spent{now, points})
	if !c.Write || c.Method == http.MethodDelete {
		return true
	}
	for _, l := range []struct {
		most   int
		window time.Duration
	}{{lim.ContentPerHour, time.Hour}, {lim.ContentPerMinute, time.Minute}} {
		if n := len(sp.content) - l.most; l.most > 0 && n >= 0 && now.Sub(sp.content[n]) < l.window {
			return refuse(&s.hits.Content, sp.content[n].Add(l.window))
		}
	}
	sp.content = append(sp.content, now)
	return true
}

func primaryLimit(w http.ResponseWriter) {
	apiError(w, 403, "API rate limit exceeded for user ID 1.", "rate-limits-for-the-rest-api")
}

func secondaryLimit(w http.ResponseWriter, status int) {
	apiError(w, status, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
		"rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits")
}
