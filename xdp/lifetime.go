package xdp

import "sync"

// lifetime orders a Run in one goroutine against a Close in another: a Close that comes
// first leaves nothing to run, and one that comes later waits.
type lifetime struct {
	mu      sync.Mutex // guards closed, and orders running
	closed  bool
	running sync.WaitGroup
}

// begin reports whether Run may; it then ends with running.Done.
func (l *lifetime) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.running.Add(1)
	return true
}

// close is for the first Close: it calls stop, which makes Run return, and waits for it.
// It reports whether this was the first.
func (l *lifetime) close(stop func()) (first bool) {
	l.mu.Lock()
	first = !l.closed
	l.closed = true
	l.mu.Unlock()
	if first {
		stop()
		l.running.Wait()
	}
	return first
}
