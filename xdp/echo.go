package xdp

import "time"

// echo is the liveness of one adjacency: carriers go to the neighbour and come back.
// It is a machine without a clock; the Prober feeds it.
//
//	          answer            unanswered > missed
//	unmet ───────────────→ up ─────────────────────→ down
//	                        ↑                          │
//	                        └── recovered answers ─────┘
//
// A neighbour that never answered is not down: it may be one that cannot shift.
type echo struct {
	next       time.Time // when the next question is due
	unanswered int       // questions since the last answer
	answers    int       // in a row, while down
	met, down  bool
}

// recovered is how many answers in a row make an adjacency usable again.
const recovered = 3

// ask is called when a question is due. It reports whether the adjacency went down.
// Answers that have come must have been told before: then a late caller finds no
// neighbour guilty.
func (e *echo) ask(now time.Time, every time.Duration, missed int) (changed bool) {
	if e.next = e.next.Add(every); !e.next.After(now) {
		e.next = now.Add(every) // after a stall of our own: no questions to make up for it
	}
	if e.unanswered > 0 {
		e.answers = 0
	}
	if e.met && !e.down && e.unanswered >= missed {
		e.down, changed = true, true
	}
	e.unanswered++
	return changed
}

// answered is called for each answer. It reports whether the adjacency was met for
// the first time, or came back.
func (e *echo) answered() (changed bool) {
	changed = !e.met
	e.unanswered, e.met = 0, true
	if !e.down {
		return changed
	}
	if e.answers++; e.answers >= recovered {
		e.down, e.answers, changed = false, 0, true
	}
	return changed
}
