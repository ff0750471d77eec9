package lab

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"dssn"
)

// sample is how many bytes an interface had received at a moment.
type sample struct {
	at    time.Time
	bytes uint64
}

// flowMeter samples the received bytes of one interface inside a node about
// once a millisecond. It stands outside of everything it measures: what it
// reads are the kernel's own counters.
type flowMeter struct {
	file  *os.File // the node's /proc/net/dev, whose namespace it keeps
	iface string
	stop  chan struct{}
	done  chan struct{}

	mu      sync.Mutex
	samples []sample // only those at which the count had changed, and the first
	last    sample
	err     error
}

// watchFlow begins to sample.
func (l *Lab) watchFlow(node, iface string) (*flowMeter, error) {
	n, err := l.Plan.Node(node)
	if err != nil {
		return nil, err
	}
	m := &flowMeter{iface: iface, stop: make(chan struct{}), done: make(chan struct{})}
	err = inNamespace(n.Namespace, func() (err error) {
		m.file, err = os.Open("/proc/thread-self/net/dev")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("watch %s of %s: %w", iface, node, err)
	}
	if err := m.take(); err != nil {
		m.file.Close()
		return nil, fmt.Errorf("watch %s of %s: %w", iface, node, err)
	}
	go m.loop()
	return m, nil
}

func (m *flowMeter) loop() {
	defer close(m.done)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-tick.C:
			if err := m.take(); err != nil {
				m.mu.Lock()
				m.err = err
				m.mu.Unlock()
				return
			}
		}
	}
}

func (m *flowMeter) take() error {
	var buf [8192]byte
	n, err := m.file.ReadAt(buf[:], 0)
	if n == 0 && err != nil {
		return err
	}
	now := time.Now()
	v, err := receivedBytes(buf[:n], m.iface)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.samples) == 0 || v != m.last.bytes {
		m.samples = append(m.samples, sample{now, v})
	}
	m.last = sample{now, v}
	return nil
}

// received returns the bytes received since the meter began.
func (m *flowMeter) received() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last.bytes - m.samples[0].bytes
}

// close ends the sampling and returns what was seen.
func (m *flowMeter) close() ([]sample, error) {
	close(m.stop)
	<-m.done
	m.file.Close()
	return m.samples, m.err
}

// receivedBytes finds an interface's first counter in the text of /proc/net/dev.
func receivedBytes(text []byte, iface string) (uint64, error) {
	for line := range bytes.Lines(text) {
		name, counters, ok := strings.Cut(string(line), ":")
		if !ok || strings.TrimSpace(name) != iface {
			continue
		}
		f := strings.Fields(counters)
		if len(f) == 0 {
			break
		}
		return strconv.ParseUint(f[0], 10, 64)
	}
	return 0, fmt.Errorf("there is no interface %s", iface)
}

// resumption is what a cut did to a flow.
type resumption struct {
	// ToFlow is from the cut to the first arrival after the longest silence.
	ToFlow time.Duration
	// Silence is the longest time without an arrival that ended after the cut.
	Silence time.Duration
}

// inFlight is how long after a cut what was under way may still arrive.
const inFlight = 50 * time.Millisecond

// resumed finds how a flow went on after it was cut at a moment: the longest
// silence that ends after the cut and begins before it or while what was under
// way still arrives, which does not count as flow again. ok is false if nothing
// arrived after the cut.
func resumed(samples []sample, cut time.Time) (r resumption, ok bool) {
	for i := 1; i < len(samples); i++ {
		from, at := samples[i-1].at, samples[i].at
		if !at.After(cut) {
			continue
		}
		if from.Sub(cut) > inFlight {
			break
		}
		ok = true
		if silence := at.Sub(from); silence > r.Silence {
			r = resumption{ToFlow: at.Sub(cut), Silence: silence}
		}
	}
	return r, ok
}

// linkLoads reads, at every hub, how many bytes have arrived over each
// backbone link, by "from>to".
func (l *Lab) linkLoads() (map[string]uint64, error) {
	loads := map[string]uint64{}
	for _, n := range l.Plan.Nodes {
		if n.Role != RoleBackbone {
			continue
		}
		var text []byte
		err := inNamespace(n.Namespace, func() (err error) {
			text, err = os.ReadFile("/proc/thread-self/net/dev")
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read the counters of %s: %w", n.Name, err)
		}
		for _, w := range l.Plan.Wires {
			for i, e := range w.Ends {
				if w.Kind != wireFibre || e.Node != n.Name {
					continue
				}
				v, err := receivedBytes(text, e.Interface)
				if err != nil {
					return nil, fmt.Errorf("read the counters of %s: %w", n.Name, err)
				}
				loads[w.Ends[1-i].Node+">"+n.Name] = v
			}
		}
	}
	return loads, nil
}

// carried returns how many bytes passed the whole path between two readings:
// the least of its backbone links, in travelling direction.
func carried(before, after map[string]uint64, hops []string) dssn.ByteCount {
	least, any := uint64(0), false
	for i := 1; i < len(hops); i++ {
		name := hops[i-1] + ">" + hops[i]
		now, ok := after[name]
		if !ok {
			continue // an access link
		}
		if n := now - before[name]; !any || n < least {
			least, any = n, true
		}
	}
	return dssn.ByteCount(least)
}
