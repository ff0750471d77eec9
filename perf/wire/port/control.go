// What may be asked of a wire from outside while its loop runs: each request is
// a job that the loop does between two batches, so that nothing on the way of a
// frame is locked.

package port

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"dssn/perf/wire"
)

// do has the loop run f and waits for it; it reports false if the loop has ended.
func (w *Wire) do(f func()) bool {
	finished := make(chan struct{})
	w.mu.Lock()
	if w.stopped {
		w.mu.Unlock()
		return false
	}
	w.jobs = append(w.jobs, func() { f(); close(finished) })
	w.mu.Unlock()
	w.ring()
	select {
	case <-finished:
		return true
	case <-w.done:
		return false
	}
}

func (w *Wire) ring() {
	w.ringing.Store(true)
	unix.Write(w.bell, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// work does what was asked for; false means to end.
func (w *Wire) work() bool {
	w.ringing.Store(false)
	var b [8]byte
	unix.Read(w.bell, b[:])
	w.mu.Lock()
	jobs, stopped := w.jobs, w.stopped
	w.jobs = nil
	w.mu.Unlock()
	for _, job := range jobs {
		job()
	}
	return !stopped
}

// Change puts other settings in force in a direction. Frames on their way keep
// their times, unless the line goes down, which loses them.
func (w *Wire) Change(direction int, s wire.Settings) error {
	if err := s.Check(); err != nil {
		return err
	}
	return w.ended(w.do(func() {
		w.lines[direction].Change(uint8(direction), s)
		for s.Down {
			slot, ok := w.lines[direction].Flush()
			if !ok {
				break
			}
			w.slab.release(slot)
		}
	}))
}

// Tap shows every arriving frame to f, which must return quickly; nil ends it.
func (w *Wire) Tap(f func(Seen)) error { return w.ended(w.do(func() { w.tap = f })) }

// Stats returns the figures of both directions, taken at one moment.
func (w *Wire) Stats() (out [2]Stats, err error) {
	err = w.ended(w.do(func() {
		var used unix.Rusage
		unix.Getrusage(unix.RUSAGE_THREAD, &used)
		for d := range 2 {
			c, held := w.lines[d].Counters()
			h := w.late[d]
			out[d] = Stats{Settings: w.lines[d].Settings().String(), Counters: c, Held: held,
				LateP50: time.Duration(h.ValueAtPercentile(50)), LateP99: time.Duration(h.ValueAtPercentile(99)), LateMax: time.Duration(h.Max()),
				CPU: time.Duration(used.Utime.Nano() + used.Stime.Nano())}
		}
	}))
	for d := range 2 {
		if s, e := w.sockets[d].Statistics(); e == nil {
			out[d].Missed = s.RxDropped + s.RxRingFull + s.FillRingEmpty
		}
	}
	return out, err
}

// Obtained returns the modes, once Run runs.
func (w *Wire) Obtained() (m Modes, err error) {
	err = w.ended(w.do(func() { m = w.modes }))
	return m, err
}

// ErrEnded is returned for a wire whose loop has ended.
var ErrEnded = errors.New("the wire has ended")

func (w *Wire) ended(ok bool) error {
	if !ok {
		return ErrEnded
	}
	return nil
}

// Stop ends Run and waits for it; frames on their way are lost.
func (w *Wire) Stop() {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	w.ring()
	<-w.done
}

// Close gives the interfaces back; Run must not run any more (Stop).
func (w *Wire) Close() (err error) {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	for d := range 2 {
		if w.directors[d] != nil {
			err = errors.Join(err, w.directors[d].Close())
		}
		if w.sockets[d] != nil {
			err = errors.Join(err, w.sockets[d].Close())
		}
	}
	if w.bell >= 0 {
		unix.Close(w.bell)
	}
	if w.umem != nil {
		err = errors.Join(err, w.umem.Close())
	}
	return err
}
