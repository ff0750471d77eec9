package wire

import "dssn"

// Line is one direction of a wire. Time is in nanoseconds on any clock that does
// not go back; a time before the last one counts as that one.
//
// For every frame that arrives the caller calls Arrive; if the frame is kept, it
// puts the frame's bytes aside and calls Hold once per copy with a number under
// which it will find them; when Next has come, it calls Due until that has no
// more. Nothing is allocated in the steady state.
type Line struct {
	s      Settings
	chance chance
	index  uint64 // of the next frame

	loss, enter, leave, burstLoss, reorder, duplicate, corrupt threshold

	bad bool // the Gilbert-Elliott channel's state

	now    int64
	free   int64  // when the line has sent all that waits for it
	carry  uint64 // the fraction of a nanosecond beyond free, in 1/Rate
	lastAt int64  // when the last frame in order comes out

	waiting      []waiting // not yet serialised, a ring
	first, count int
	backlog      dssn.ByteCount // of waiting

	held      held
	heldBytes int
	counters  Counters
}

// waiting is a frame before the line.
type waiting struct {
	until  int64 // when its last bit is sent
	length int32
}

// Bounds on what one direction keeps in memory; what does not fit is dropped as HoldFull.
const (
	MaxHeld      = 1 << 19
	MaxHeldBytes = 256 << 20
)

// NewLine makes a line; direction separates the chances of the two directions of
// one wire. The settings have passed Check.
func NewLine(direction uint8, s Settings) *Line {
	l := &Line{}
	l.Change(direction, s)
	return l
}

// Change puts other settings in force for the frames that arrive from now on.
// Frames on their way keep their times, unless the line goes down, which loses
// them: Flush them then. The count of frames goes on, so chance does too, unless
// the seed changes: then it begins anew.
func (l *Line) Change(direction uint8, s Settings) {
	if s.Seed != l.s.Seed || l.index == 0 {
		l.chance = newChance(s.Seed, direction)
		l.index, l.bad = 0, false
	}
	if s.Enter == 0 {
		l.bad = false
	}
	if s.Rate != l.s.Rate {
		l.carry = 0
	}
	l.s = s
	l.loss, l.enter, l.leave, l.burstLoss = thresholdOf(s.Loss), thresholdOf(s.Enter), thresholdOf(s.Leave), thresholdOf(s.BurstLoss)
	l.reorder, l.duplicate, l.corrupt = thresholdOf(s.Reorder), thresholdOf(s.Duplicate), thresholdOf(s.Corrupt)
}

// Settings are those in force.
func (l *Line) Settings() Settings { return l.s }

// Counters are those since the line was made, held the frames now on their way.
func (l *Line) Counters() (c Counters, held int) { return l.counters, l.held.len() }

// Verdict is what becomes of a frame.
type Verdict struct {
	Why    Reason // Kept, or why it is dropped
	Copies int    // 0, 1 or 2
	At     int64  // when it comes out
	// Flip is the number of the bit to invert, counted from the frame's first
	// bit; -1 for none.
	Flip int
}

// Arrive decides about a frame of length bytes, Ethernet header included.
func (l *Line) Arrive(now int64, length int) Verdict {
	l.now = max(l.now, now)
	l.counters.In++
	l.counters.InBytes += uint64(length)
	i := l.index
	l.index++
	lost := l.lost(i) // before anything else: chance goes by index, whatever happens to the frame
	switch {
	case l.s.Down:
		return l.drop(LineDown)
	case l.s.MTU > 0 && length > l.s.MTU+ethernetHeader:
		return l.drop(TooLong)
	}
	sent, room := l.serialise(length)
	switch {
	case !room:
		return l.drop(QueueFull)
	case lost != Kept:
		return l.drop(lost)
	}
	v := Verdict{Copies: 1, At: l.arrival(i, sent), Flip: -1}
	if l.duplicate.hit(l.chance.at(forDuplicate, i)) {
		v.Copies = 2
	}
	if l.held.len()+v.Copies > MaxHeld || l.heldBytes+v.Copies*length > MaxHeldBytes {
		return l.drop(HoldFull)
	}
	if v.Copies == 2 {
		l.counters.Duplicated++
	}
	if l.corrupt.hit(l.chance.at(forCorrupt, i)) && length > ethernetHeader {
		v.Flip = ethernetHeader*8 + int(l.chance.at(forBit, i)%uint64((length-ethernetHeader)*8))
		l.counters.Corrupted++
	}
	return v
}

func (l *Line) drop(why Reason) Verdict {
	l.counters.Dropped[why]++
	return Verdict{Why: why, Flip: -1}
}

// lost moves the Gilbert-Elliott channel by one frame and says whether the line
// loses frame i.
func (l *Line) lost(i uint64) Reason {
	if l.s.Enter > 0 {
		change := l.enter
		if l.bad {
			change = l.leave
		}
		if change.hit(l.chance.at(forBurst, i)) {
			l.bad = !l.bad
		}
		if l.bad && l.burstLoss.hit(l.chance.at(forBurstLoss, i)) {
			return LostBurst
		}
	}
	if l.loss.hit(l.chance.at(forLoss, i)) {
		return Lost
	}
	return Kept
}

// serialise lets the frame wait for the line and returns when its last bit is
// sent. Without a rate that is now.
func (l *Line) serialise(length int) (sent int64, room bool) {
	if l.s.Rate == 0 && l.count == 0 {
		return l.now, true
	}
	for l.count > 0 && l.waiting[l.first].until <= l.now {
		l.backlog -= dssn.ByteCount(l.waiting[l.first].length)
		l.first = (l.first + 1) & (len(l.waiting) - 1)
		l.count--
	}
	limit := l.s.QueuePackets
	if limit == 0 && l.s.QueueBytes == 0 {
		limit = DefaultQueue
	}
	if limit > 0 && l.count >= limit || l.count >= MaxQueue ||
		l.s.QueueBytes > 0 && l.count > 0 && l.backlog+dssn.ByteCount(length) > l.s.QueueBytes {
		return 0, false
	}
	if l.free < l.now {
		l.free, l.carry = l.now, 0
	}
	l.free += l.sending(length + l.s.Overhead)
	l.wait(waiting{l.free, int32(length)})
	return l.free, true
}

// sending is how long n bytes take, in nanoseconds; the fraction is carried on,
// so that the rate is exact over many frames. MinRate keeps a full queue of
// longest frames within the range of a time.
func (l *Line) sending(n int) int64 {
	if l.s.Rate == 0 {
		return 0
	}
	nanobits := uint64(n)*8*1e9 + l.carry
	l.carry = nanobits % uint64(l.s.Rate)
	return int64(nanobits / uint64(l.s.Rate))
}

func (l *Line) wait(w waiting) {
	if l.count == len(l.waiting) {
		bigger := make([]waiting, max(64, 2*len(l.waiting)))
		for i := range l.count {
			bigger[i] = l.waiting[(l.first+i)&(len(l.waiting)-1)]
		}
		l.waiting, l.first = bigger, 0
	}
	l.waiting[(l.first+l.count)&(len(l.waiting)-1)] = w
	l.count++
	l.backlog += dssn.ByteCount(w.length)
}

// arrival is when frame i, sent at the given time, comes out.
func (l *Line) arrival(i uint64, sent int64) int64 {
	delay := int64(l.s.Delay)
	if l.s.Jitter > 0 {
		delay = max(0, delay+int64(l.s.Law.deviation(l.chance.at(forJitter, i), float64(l.s.Jitter))))
	}
	at := sent + delay
	if l.reorder.hit(l.chance.at(forReorder, i)) {
		l.counters.Reordered++
		return at + int64(l.s.ReorderBy)
	}
	if !l.s.Free {
		at = max(at, l.lastAt)
		l.lastAt = at
	}
	return at
}

// Hold keeps one copy of a frame until at.
func (l *Line) Hold(at int64, slot uint32, length int) {
	l.held.push(at, slot, length)
	l.heldBytes += length
}

// Direct reports whether a frame that comes out at once, once, need not be held
// because nothing is on its way before it; the caller sends it and it counts as out.
func (l *Line) Direct(v Verdict, length int) bool {
	if v.Copies != 1 || v.At > l.now || l.held.len() > 0 {
		return false
	}
	l.counters.Out++
	l.counters.OutBytes += uint64(length)
	return true
}

// Next says when the next frame comes out.
func (l *Line) Next() (at int64, ok bool) {
	it, ok := l.held.next()
	return it.at, ok
}

// Due takes out the next frame if its time has come.
func (l *Line) Due(now int64) (slot uint32, at int64, ok bool) {
	it, ok := l.held.next()
	if !ok || it.at > now {
		return 0, 0, false
	}
	l.held.pop()
	l.heldBytes -= int(it.length)
	l.counters.Out++
	l.counters.OutBytes += uint64(it.length)
	return it.slot, it.at, true
}

// Flush loses the next frame on its way, as a cut does, and returns its number;
// the caller calls it until there is none.
func (l *Line) Flush() (slot uint32, ok bool) {
	it, ok := l.held.next()
	if !ok {
		return 0, false
	}
	l.held.pop()
	l.heldBytes -= int(it.length)
	l.counters.Dropped[LineDown]++
	return it.slot, true
}
