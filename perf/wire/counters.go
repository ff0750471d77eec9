package wire

// Reason is why a frame did not come out.
type Reason uint8

// The reasons. Kept is none: the frame comes out.
const (
	Kept      Reason = iota
	TooLong          // longer than the MTU
	QueueFull        // no room before the line
	Lost             // by itself
	LostBurst        // in a burst
	LineDown         // the line was down, or went down while the frame was on it
	HoldFull         // more on its way than this program will remember
	Reasons
)

var reasonNames = [Reasons]string{"kept", "too long", "queue full", "lost", "lost in a burst", "line down", "hold full"}

func (r Reason) String() string { return reasonNames[r] }

// Counters of one direction. They only grow, and at any moment
//
//	In + Duplicated = Out + Dropped[…] + held
type Counters struct {
	In, InBytes   uint64
	Out, OutBytes uint64
	Duplicated    uint64
	Corrupted     uint64
	Reordered     uint64 // held back, so that others may overtake
	Dropped       [Reasons]uint64
}

// Lost is the sum over all reasons.
func (c Counters) Lost() (n uint64) {
	for _, d := range c.Dropped {
		n += d
	}
	return n
}
