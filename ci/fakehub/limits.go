package fakehub

import (
	"net/http"
	"strconv"
	"time"
)

// spending is what one token has used up.
type spending struct {
	content []time.Time // of requests that create content, within the hour
	points  []spent     // within the minute
	start   time.Time   // of the hour of the primary limit
	used    int
}

type spent struct {
	at     time.Time
	points int
}

// admit charges a call and says whether a limit refuses it. It answers the
// call itself then. The lock is held.
func (s *Server) admit(w http.ResponseWriter, who string, c *Call) bool {
	now := s.cfg.Now()
	sp := s.spent[who]
	if sp == nil {
		sp = &spending{start: now}
		s.spent[who] = sp
	}
	lim := s.cfg.Limits

	if now.Sub(sp.start) >= time.Hour {
		sp.start, sp.used = now, 0
	}
	reset := sp.start.Add(time.Hour)
	limit := lim.RequestsPerHour
	if limit == 0 {
		limit = 5000
	}
	exceeded := lim.RequestsPerHour > 0 && sp.used >= limit
	if !exceeded {
		sp.used++
	}
	h := w.Header()
	h.Set("X-RateLimit-Limit", strconv.Itoa(limit))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(max(0, limit-sp.used)))
	h.Set("X-RateLimit-Used", strconv.Itoa(sp.used))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(reset.Unix(), 10))
	h.Set("X-RateLimit-Resource", "core")
	if exceeded {
		s.hits.Primary++
		apiError(w, 403, "API rate limit exceeded for user ID 1.", "rate-limits-for-the-rest-api")
		return false
	}

	refuse := func(counter *int, free time.Time) bool {
		*counter++
		h.Set("Retry-After", seconds(max(time.Second, free.Sub(now))))
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
	for len(sp.points) > 0 && now.Sub(sp.points[0].at) >= time.Minute {
		sp.points = sp.points[1:]
	}
	total := points
	for _, p := range sp.points {
		total += p.points
	}
	if lim.PointsPerMinute > 0 && total > lim.PointsPerMinute {
		return refuse(&s.hits.Points, sp.points[0].at.Add(time.Minute))
	}
	sp.points = append(sp.points, spent{now, points})

	if c.Write && c.Method != http.MethodDelete {
		for len(sp.content) > 0 && now.Sub(sp.content[0]) >= time.Hour {
			sp.content = sp.content[1:]
		}
		if n := lim.ContentPerHour; n > 0 && len(sp.content) >= n {
			return refuse(&s.hits.Content, sp.content[len(sp.content)-n].Add(time.Hour))
		}
		if n := lim.ContentPerMinute; n > 0 && len(sp.content) >= n && now.Sub(sp.content[len(sp.content)-n]) < time.Minute {
			return refuse(&s.hits.Content, sp.content[len(sp.content)-n].Add(time.Minute))
		}
		sp.content = append(sp.content, now)
	}
	return true
}

func secondaryLimit(w http.ResponseWriter, status int) {
	apiError(w, status, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
		"rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits")
}
