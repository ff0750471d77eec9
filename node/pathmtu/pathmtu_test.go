package pathmtu

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the transcripts anew")

// path is a path in virtual time.
type path struct {
	Machine
	now          time.Duration
	carries      int
	mute         bool
	delay        time.Duration
	lose         float64
	r            *rand.Rand
	flying       []Input // answers, with when they arrive
	at           []time.Duration
	last         Input
	in           Input
	log          strings.Builder
	probes, sent int
	out          Output
}

// run lets d pass in steps of 100 ms, as the node's clock does.
func (p *path) run(d time.Duration) {
	for end := p.now + d; p.now < end; p.now += 100 * time.Millisecond {
		for len(p.at) > 0 && p.at[0] <= p.now {
			p.in.AnsweredID, p.in.AnsweredSize = p.flying[0].AnsweredID, p.flying[0].AnsweredSize
			p.at, p.flying = p.at[1:], p.flying[1:]
		}
		before := p.State()
		p.out = p.Step(p.now, p.in)
		p.in.Moved = false
		if p.out.Probe != 0 {
			p.probes++
			p.sent += p.out.Probe
			arrives := p.out.Probe <= p.carries && !p.mute && (p.lose == 0 || p.r.Float64() >= p.lose)
			if arrives {
				p.flying = append(p.flying, Input{AnsweredID: p.out.ID, AnsweredSize: p.out.Probe})
				p.at = append(p.at, p.now+p.delay)
			}
			fmt.Fprintf(&p.log, "%7.1fs probe %d as %d, which arrives: %v\n", p.now.Seconds(), p.out.Probe, p.out.ID, arrives)
		}
		if p.out.Changed || p.State() != before {
			fmt.Fprintf(&p.log, "%7.1fs %v: fits %d, most %d, narrow %v\n", p.now.Seconds(), p.State(), p.out.Fits, p.out.Most, p.out.Narrow)
		}
	}
}

func (p *path) note(format string, a ...any) { fmt.Fprintf(&p.log, "# "+format+"\n", a...) }

// What happens, line by line, is in testdata.
func TestTranscripts(t *testing.T) {
	for name, script := range map[string]func(p *path){
		"ordinary": func(p *path) { p.run(30 * time.Second) },
		"jumbo inside, ordinary path": func(p *path) {
			p.in.Ceiling = 8920
			p.run(15 * time.Second)
		},
		"jumbo everywhere": func(p *path) { p.in.Ceiling, p.carries = 8920, 9000; p.run(5 * time.Second) },
		"a path that shrinks and grows": func(p *path) {
			p.run(5 * time.Second)
			p.note("the path carries 1340 now")
			p.carries = 1340
			p.run(20 * time.Second)
			p.note("and 1420 again")
			p.carries = 1420
			p.run(80 * time.Second)
		},
		"a router's word": func(p *path) {
			p.run(3 * time.Second)
			p.note("a forged word: 1280")
			p.in.Hint = 1280
			p.run(3 * time.Second)
			p.note("a true one: 1300")
			p.carries, p.in.Hint = 1300, 1300
			p.run(10 * time.Second)
		},
		"moved to another path": func(p *path) {
			p.run(3 * time.Second)
			p.note("moved")
			p.in.Moved, p.carries = true, 1400
			p.run(10 * time.Second)
		},
		"narrower than IPv6 allows": func(p *path) { p.carries = 1200; p.run(20 * time.Second) },
		"a peer that answers nothing": func(p *path) {
			p.mute = true
			p.run(70 * time.Second)
		},
		"nothing to carry": func(p *path) { p.in.Active = false; p.run(100 * time.Second) },
	} {
		p := &path{carries: 1420, delay: 40 * time.Millisecond, in: Input{Ceiling: 1420, Active: true}}
		script(p)
		file := filepath.Join("testdata", strings.ReplaceAll(name, " ", "_")+".txt")
		if *update {
			if err := os.WriteFile(file, []byte(p.log.String()), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.log.String(); got != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
}

// Whatever the path carries, whatever it loses and however often it changes,
// what is said to fit in the end does, and little more would.
func TestItSettlesOnWhatThePathCarries(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 8))
		p := &path{r: r, delay: time.Duration(r.IntN(300)) * time.Millisecond, in: Input{Ceiling: 1280 + r.IntN(8000), Active: true}}
		if seed%3 == 0 {
			p.lose = 0.02
		}
		for range 4 {
			p.carries = 1280 + r.IntN(8000)
			if r.IntN(2) == 0 {
				p.in.Hint = 1280 + r.IntN(8000)
			}
			p.in.Moved = r.IntN(3) == 0
			p.run(700 * time.Second)
			fits := p.out.Fits
			if fits == 0 {
				fits = p.in.Ceiling
			}
			best := min(p.carries, p.in.Ceiling)
			if fits > best {
				t.Fatalf("seed %d: %d are said to fit a path that carries %d:\n%s", seed, fits, best, p.log.String())
			}
			if p.lose == 0 && (p.State() != Settled || best-fits > granularity) {
				t.Fatalf("seed %d: %v at %d of %d:\n%s", seed, p.State(), fits, best, p.log.String())
			}
		}
		// One in ten seconds to verify, and a search whenever the path changes.
		if p.probes > 4*(700/10+130) {
			t.Errorf("seed %d: %d probes in %v", seed, p.probes, p.now)
		}
	}
}

// After a path has shrunk, large packets are lost for no longer than it takes to
// ask three times, once the time to ask has come.
func TestABlackHoleIsNoticed(t *testing.T) {
	p := &path{carries: 8920, delay: 10 * time.Millisecond, in: Input{Ceiling: 8920, Active: true}}
	p.run(20 * time.Second)
	p.carries = 1400
	since := p.now
	for p.out.Fits == 0 || p.out.Fits > 1400 {
		p.run(100 * time.Millisecond)
		if p.now-since > verifyEvery+2*time.Second {
			t.Fatalf("not noticed after %v:\n%s", p.now-since, p.log.String())
		}
	}
}
