package gen

import (
	"time"

	"dssn/xdp"
)

// Schedule says which stream sends the next frame, and when. Time is in 1/1024 ns
// of any steady clock, as for xdp.Traffic, whose twin it is.
type Schedule struct {
	streams []turn
	last    int
}

type turn struct {
	interval, due, soonest uint64
	behind, worst          uint64
	sent, limit            uint64
	burst, left            uint64
}

// debt is how much a late sender makes up for, at twice the rate at most; what
// goes beyond is given up and reported.
const debt = uint64(100*time.Millisecond) << 10

// slack is how much of it goes at once, as a sender that sleeps between frames
// wakes late.
const slack = uint64(2*time.Millisecond) << 10

// NewSchedule begins at now.
func NewSchedule(now uint64, streams []xdp.TrafficStream) *Schedule {
	s := &Schedule{streams: make([]turn, len(streams))}
	for i, t := range streams {
		s.streams[i] = turn{interval: t.Interval, due: now, soonest: now, limit: t.Count, burst: uint64(max(t.Burst, 1))}
	}
	return s
}

// Next picks the stream whose frame goes at now; none if nobody is due.
func (s *Schedule) Next(now uint64) (stream int, ok bool) {
	for range s.streams {
		if s.last++; s.last >= len(s.streams) {
			s.last = 0
		}
		t := &s.streams[s.last]
		if t.sent >= t.limit || t.interval > 0 && t.left == 0 && now < max(t.due, t.soonest) {
			continue
		}
		t.sent++
		switch {
		case t.left > 0:
			t.left--
		case t.interval > 0:
			from, step := t.due, t.interval*t.burst
			t.worst = max(t.worst, now-from)
			if now-from > debt {
				t.behind += now - from
				from = now
			}
			t.due = from + step
			t.soonest = max(t.soonest, now-min(slack, now)) + step/2
			t.left = t.burst - 1
		}
		return s.last, true
	}
	return 0, false
}

// Due is when the next frame may go; done means that no stream has any left.
func (s *Schedule) Due() (at uint64, done bool) {
	done = true
	for i := range s.streams {
		t := &s.streams[i]
		if t.sent >= t.limit {
			continue
		}
		due := max(t.due, t.soonest)
		if t.left > 0 || t.interval == 0 {
			due = 0
		}
		if done || due < at {
			at = due
		}
		done = false
	}
	return at, done
}

// Sent is how far a stream is.
func (s *Schedule) Sent(stream int) xdp.TrafficSent {
	t := &s.streams[stream]
	return xdp.TrafficSent{Frames: t.sent, Behind: time.Duration(t.behind >> 10), Worst: time.Duration(t.worst >> 10)}
}
