package northbound

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Events as they happen: GET /v1/events with Accept: text/event-stream is
// answered by server-sent events (WHATWG HTML, §9.2). An event's id is its
// sequence number; a client that lost its connection sends the last one as
// Last-Event-ID and misses nothing, unless the controller no longer remembers
// that far: then the first thing it is told is an event "gap".

const (
	maxStreams = 256
	// heartbeat keeps what is between from closing a quiet stream.
	heartbeat = 15 * time.Second
	// streamWrite is how long a reader may leave a line unread.
	streamWrite = 10 * time.Second
)

// Feed says that there is something new, for streams.
type Feed struct {
	// Changed returns a channel that is closed when there may be new events.
	Changed func() <-chan struct{}
	// Oldest is the first event that is remembered.
	Oldest func() int64
	// Stopping is closed when streams have to end.
	Stopping <-chan struct{}
}

// stream answers with events until the client goes away.
func (a *api) stream(w http.ResponseWriter, r *http.Request, s Service) {
	by, err := a.caller(r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	if a.streams.Add(1) > maxStreams {
		a.streams.Add(-1)
		w.Header().Set("Retry-After", "10")
		WriteProblem(w, NewProblem("too-many", http.StatusTooManyRequests, "%d clients follow the events already: poll /v1/events?after=N, or try again later", maxStreams))
		return
	}
	defer a.streams.Add(-1)
	after, err := resumeAt(r)
	if err == nil && after < 0 {
		after, err = newest(r.Context(), s, by)
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	c := http.NewResponseController(w)
	// An error only means that this connection has no deadlines.
	_ = c.SetReadDeadline(time.Time{})
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	say := func(text string) error {
		_ = c.SetWriteDeadline(time.Now().Add(streamWrite))
		if _, err := w.Write([]byte(text)); err != nil {
			return err
		}
		return c.Flush()
	}
	greeting := ": events follow\n\n"
	if oldest := a.Feed.Oldest(); oldest > after+1 {
		greeting = fmt.Sprintf("event: gap\ndata: {\"after\":%d,\"oldest\":%d}\n\n", after, oldest)
	}
	if say(greeting) != nil {
		return
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		changed := a.Feed.Changed()
		events, err := s.Events(r.Context(), by, after, 1000)
		if err != nil {
			return
		}
		for _, e := range events {
			if say(frame(e)) != nil {
				return
			}
			after = e.Sequence
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-beat.C:
			if by, err = a.caller(r); err != nil { // its token ran out, or was taken away
				return
			}
			if say(": still here\n\n") != nil {
				return
			}
		case <-r.Context().Done():
			return
		case <-a.Feed.Stopping:
			return
		}
	}
}

func frame(e Event) string {
	b, err := json.Marshal(e)
	if err != nil {
		return ": an event could not be written\n\n"
	}
	return fmt.Sprintf("id: %d\nevent: %s\ndata: %s\n\n", e.Sequence, e.Kind, b)
}

// resumeAt is the event after which a client wants to go on; -1 for the newest.
func resumeAt(r *http.Request) (int64, error) {
	s := r.Header.Get("Last-Event-ID")
	if s == "" {
		s = r.URL.Query().Get("after")
	}
	if s == "" {
		return -1, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, NewProblem("invalid", http.StatusBadRequest, "%.40q is not an event's number: send the last id that was received as Last-Event-ID", s)
	}
	return n, nil
}

// newest is the number of the newest event that a caller may see.
func newest(ctx context.Context, s Service, by WhoAmI) (int64, error) {
	events, err := s.Events(ctx, by, 0, 0)
	if err != nil || len(events) == 0 {
		return 0, err
	}
	return events[len(events)-1].Sequence, nil
}

func wantsStream(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/event-stream")
}
