package wire

import (
	"fmt"
	"math"
	"time"

	"dssn"
)

// Law is how jitter is distributed.
type Law uint8

// The laws. Delay plus deviation is never less than zero.
const (
	Uniform     Law = iota // −jitter to +jitter
	Normal                 // standard deviation jitter
	Exponential            // added, mean jitter
	Pareto                 // added, mean jitter, heavy tail (Lomax, shape 3, cut at 100 × jitter)
)

var lawNames = []string{"uniform", "normal", "exponential", "pareto"}

func (l Law) String() string { return lawNames[l] }

// Settings are what one direction of a wire does. The zero value passes all
// frames at once.
type Settings struct {
	// Rate at which frames are serialised; zero means no limit. Overhead is what
	// every frame takes on the line beyond its bytes (Ethernet: 24 with preamble,
	// gap and checksum).
	Rate     dssn.Bandwidth
	Overhead int
	// QueueBytes and QueuePackets bound the frames that wait for the line, the one
	// being sent included; a frame that does not fit is dropped. Zero means
	// DefaultQueue packets for QueuePackets and no bound for QueueBytes. A queue
	// means something only with a Rate.
	QueueBytes   dssn.ByteCount
	QueuePackets int

	Delay  time.Duration
	Jitter time.Duration
	Law    Law
	// Free lets jitter change the order of frames. Without it a frame never comes
	// out before an earlier one, as on a real line, which stretches the jitter of
	// frames that follow each other closely.
	Free bool

	// Loss is the probability of a frame to be lost by itself.
	Loss float64
	// Enter and Leave are a Gilbert-Elliott channel's probabilities, per frame, of
	// going from the good state to the bad one and back; in the bad state a frame
	// is lost with probability BurstLoss (Loss applies in both). So bursts last
	// 1/Leave frames on average and Enter/(Enter+Leave) of all frames meet the bad
	// state. Source: Elliott, Estimates of error rates for codes on burst-noise
	// channels, BSTJ 1963; Gilbert's model is BurstLoss 1.
	Enter, Leave, BurstLoss float64

	// Reorder is the share of frames that are held back by ReorderBy more, so
	// that others overtake them.
	Reorder   float64
	ReorderBy time.Duration
	// Duplicate is the share of frames that come out twice, Corrupt that of frames
	// with one bit flipped behind the Ethernet header.
	Duplicate, Corrupt float64

	// MTU is the longest frame that passes, in bytes without its 14 bytes of
	// Ethernet header; zero means all.
	MTU int
	// Seed of all chance.
	Seed uint64
	// Down loses everything, also what is on its way.
	Down bool
}

// DefaultQueue is how many frames wait for a line with a rate, unless the
// settings say otherwise.
const DefaultQueue = 1000

// Bounds of settings.
const (
	MaxDelay    = time.Hour
	MaxOverhead = 1 << 10
	MaxQueue    = 1 << 20 // packets
	MinRate     = dssn.Kbps
)

// ethernetHeader is not counted by an MTU and not hit by corruption.
const ethernetHeader = 14

// Check reports, in one sentence, what cannot be.
func (s Settings) Check() error {
	for _, p := range []struct {
		name string
		v    float64
	}{{"loss", s.Loss}, {"burst", s.Enter}, {"burst", s.Leave}, {"burst-loss", s.BurstLoss}, {"reorder", s.Reorder}, {"duplicate", s.Duplicate}, {"corrupt", s.Corrupt}} {
		if !(p.v >= 0 && p.v <= 1) {
			return fmt.Errorf("%s is %g: a share lies between 0 and 100%%", p.name, p.v)
		}
	}
	for _, d := range []struct {
		name string
		v    time.Duration
	}{{"delay", s.Delay}, {"jitter", s.Jitter}, {"reorder", s.ReorderBy}} {
		if d.v < 0 || d.v > MaxDelay {
			return fmt.Errorf("%s is %v: a time lies between 0 and %v", d.name, d.v, MaxDelay)
		}
	}
	switch {
	case int(s.Law) >= len(lawNames):
		return fmt.Errorf("law %d does not exist", s.Law)
	case s.Rate != 0 && s.Rate < MinRate:
		return fmt.Errorf("rate is %v bit/s: it is at least %v, or 0 for no limit", s.Rate, MinRate)
	case s.Overhead < 0 || s.Overhead > MaxOverhead:
		return fmt.Errorf("overhead is %d bytes: it lies between 0 and %d", s.Overhead, MaxOverhead)
	case s.QueuePackets < 0 || s.QueuePackets > MaxQueue || s.QueueBytes > 1<<40:
		return fmt.Errorf("the queue is too long: at most %dp and 1TiB", MaxQueue)
	case s.MTU != 0 && (s.MTU < 68 || s.MTU > math.MaxUint16):
		return fmt.Errorf("mtu is %d bytes: it lies between 68 and %d", s.MTU, math.MaxUint16)
	case s.Enter > 0 && s.Leave == 0:
		return fmt.Errorf("burst begins but never ends: write burst=ENTER/LEAVE with LEAVE above 0, or loss=100%%")
	case s.Reorder > 0 && s.ReorderBy == 0:
		return fmt.Errorf("reorder needs the time by which frames are held back: write for example reorder=1%%/2ms")
	case s.Rate == 0 && (s.QueuePackets > 0 || s.QueueBytes > 0):
		return fmt.Errorf("a queue forms only before a line with a rate: give rate too, or leave queue out")
	}
	return nil
}
