package lab

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"dssn/perf/wire"
	"dssn/perf/wire/port"
)

// ServeWires moves the frames of all emulated wires of the lab called id, each on
// a thread of its own, and answers on the lab's wires.sock until ctx ends. It runs
// in the wires' namespace, in a process that Up starts: `dssn lab wires ID`.
func ServeWires(ctx context.Context, id string) (err error) {
	var r record
	if err := readRecord(filepath.Join(stateDir(id), "lab.json"), &r); err != nil || r.Plan == nil {
		return fmt.Errorf("there is no lab named %s: `dssn lab wires` is started by `dssn lab up`", id)
	}
	debug.SetGCPercent(400) // little garbage, and frames wait for none of it
	s := &wireServer{wires: map[string]*served{}}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	defer func() {
		for _, w := range s.wires {
			w.port.Stop()
		}
		running.Wait()
		for _, w := range s.wires {
			err = errors.Join(err, w.port.Close())
		}
	}()
	for _, w := range r.Plan.emulated() {
		v, err := openWire(r.Plan, w)
		if err != nil {
			return fmt.Errorf("wire %s: %w", w.Name, err)
		}
		s.wires[w.Name] = v
		running.Add(1)
		go func() {
			defer running.Done()
			if err := v.port.Run(); err != nil {
				cancel(fmt.Errorf("wire %s: %w", w.Name, err))
			}
		}()
	}
	listener, err := net.Listen("unix", wireSocket(id))
	if err != nil {
		return fmt.Errorf("listen for the lab: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	for {
		c, err := listener.Accept()
		if err != nil {
			if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
				return cause
			}
			return nil
		}
		go s.answer(ctx, c)
	}
}

// served is one wire. The settings are those that people asked for, apart from
// the line being cut.
type served struct {
	port *port.Wire
	mu   sync.Mutex // guards what follows
	want [2]wire.Settings
	down bool
	taps map[*tap]bool
}

type wireServer struct{ wires map[string]*served }

func openWire(p *Plan, w Wire) (*served, error) {
	v := &served{taps: map[*tap]bool{}}
	for d, text := range w.Emulated {
		var err error
		if v.want[d], err = wire.Parse(text); err != nil {
			return nil, err
		}
	}
	ring := 0
	if len(p.emulated()) > 8 { // memory: 25 MB a wire otherwise
		ring = 512
	}
	var err error
	v.port, err = port.Open(port.Options{Interfaces: [2]string(w.Ports), Settings: v.want, MTU: p.MTU, Ring: ring})
	return v, err
}

func (s *wireServer) answer(ctx context.Context, c net.Conn) {
	defer c.Close()
	var q wireRequest
	text, err := bufio.NewReaderSize(io.LimitReader(c, 1<<16), 1<<12).ReadBytes('\n')
	if err != nil {
		return // somebody who only looked whether we are there
	}
	reply := func(a wireReply, err error) {
		if err != nil {
			a = wireReply{Error: err.Error()}
		}
		json.NewEncoder(c).Encode(a)
	}
	if err := json.Unmarshal(text, &q); err != nil {
		reply(wireReply{}, fmt.Errorf("read the request: %w", err))
		return
	}
	if q.Do == "stats" {
		reply(s.stats())
		return
	}
	w := s.wires[q.Wire]
	switch {
	case w == nil:
		reply(wireReply{}, fmt.Errorf("there is no emulated wire %q", q.Wire))
	case q.Direction < 0 || q.Direction > 2:
		reply(wireReply{}, fmt.Errorf("direction %d is neither 0, 1 nor 2 for both", q.Direction))
	case q.Do == "set" || q.Do == "replace":
		reply(w.set(q))
	case q.Do == "line-down" || q.Do == "line-up":
		reply(wireReply{}, w.lineDown(q.Do == "line-down"))
	case q.Do == "tap":
		w.tap(ctx, c)
	default:
		reply(wireReply{}, fmt.Errorf("%q is not a request", q.Do))
	}
}

func (s *wireServer) stats() (wireReply, error) {
	a := wireReply{Stats: map[string]WireReading{}}
	for name, w := range s.wires {
		d, err := w.port.Stats()
		if err != nil {
			return a, fmt.Errorf("wire %s: %w", name, err)
		}
		m, err := w.port.Obtained()
		if err != nil {
			return a, fmt.Errorf("wire %s: %w", name, err)
		}
		a.Stats[name] = WireReading{m, d}
	}
	return a, nil
}

func (w *served) set(q wireRequest) (a wireReply, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := w.want
	for d := range next {
		a.Was = append(a.Was, next[d].String())
		if q.Direction == d || q.Direction == 2 {
			if q.Do == "replace" {
				next[d] = wire.Settings{}
			}
			if err := next[d].Update(q.Settings); err != nil {
				return a, err
			}
		}
	}
	return a, w.applyLocked(next, w.down)
}

func (w *served) lineDown(down bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.applyLocked(w.want, down)
}

// applyLocked puts settings in force; a cut line loses everything whatever they say.
func (w *served) applyLocked(want [2]wire.Settings, down bool) error {
	for d, s := range want {
		s.Down = s.Down || down
		if err := w.port.Change(d, s); err != nil {
			return err
		}
	}
	w.want, w.down = want, down
	return nil
}

// tap is somebody who watches a wire's frames.
type tap struct {
	frames chan []byte // records, see tapHeader
	missed atomic.Uint64
}

// tapHeader precedes each frame that a tap is sent:
//
//	0  length of the frame, uint32 big-endian      16 delay, int64 ns
//	4  direction; 5 why dropped; 6 copies; 7 flags 24 number, uint64
//	8  when it arrived, int64 ns since 1970        32 frames missed so far, uint64
const tapHeader = 40

const tapCorrupted = 1 // flag: one bit is flipped on the way out

// tapQueue is how many frames wait for a slow watcher before it misses some.
const tapQueue = 8192

func (w *served) tap(ctx context.Context, c net.Conn) {
	t := &tap{frames: make(chan []byte, tapQueue)}
	w.retap(func() { w.taps[t] = true })
	defer w.retap(func() { delete(w.taps, t) })
	c.SetDeadline(time.Time{})
	if json.NewEncoder(c).Encode(wireReply{}) != nil {
		return
	}
	gone := make(chan struct{})
	go func() {
		io.Copy(io.Discard, c) // ends when the watcher goes
		close(gone)
	}()
	for {
		select {
		case <-gone:
			return
		case <-ctx.Done():
			return
		case f := <-t.frames:
			binary.BigEndian.PutUint64(f[32:], t.missed.Load())
			if _, err := c.Write(f); err != nil {
				return
			}
		}
	}
}

// retap changes the set of watchers.
func (w *served) retap(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
	var list []*tap
	for t := range w.taps {
		list = append(list, t)
	}
	if list == nil {
		w.port.Tap(nil)
		return
	}
	w.port.Tap(func(s port.Seen) {
		f := tapRecord(s)
		for _, t := range list {
			select {
			case t.frames <- append([]byte(nil), f...):
			default:
				t.missed.Add(1)
			}
		}
	})
}

func tapRecord(s port.Seen) []byte {
	f := make([]byte, tapHeader, tapHeader+len(s.Frame))
	binary.BigEndian.PutUint32(f, uint32(len(s.Frame)))
	f[4], f[5], f[6] = byte(s.Direction), byte(s.Verdict.Why), byte(s.Verdict.Copies)
	if s.Verdict.Flip >= 0 {
		f[7] |= tapCorrupted
	}
	binary.BigEndian.PutUint64(f[8:], uint64(s.At.UnixNano()))
	binary.BigEndian.PutUint64(f[16:], uint64(s.Delay))
	binary.BigEndian.PutUint64(f[24:], s.Number)
	return append(f, s.Frame...)
}
