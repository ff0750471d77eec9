package meter

import (
	"math/big"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"dssn"
	"dssn/dataplane"
)

var everything = netip.MustParsePrefix("::/0")

// oneMeter returns the shares of a registry's only meter.
func oneMeter(workers int, rate dssn.Bandwidth, burst dssn.ByteCount) (*Registry, []*Share) {
	r := NewRegistry(workers)
	m := []dataplane.Meter{{Reservation: 1, From: everything, To: everything, Rate: rate, Burst: burst}}
	return r, r.Compile(0, m).All[0].Shares[0]
}

// slowBucket is a token bucket as a textbook has it, in exact fractions.
type slowBucket struct{ level, depth, rate big.Rat } // bytes, bytes, bytes a nanosecond

func (b *slowBucket) pass(d time.Duration) {
	b.level.Add(&b.level, new(big.Rat).Mul(&b.rate, new(big.Rat).SetInt64(int64(d))))
	if b.level.Cmp(&b.depth) > 0 {
		b.level.Set(&b.depth)
	}
}

func TestAPoolAgreesWithATextbookBucket(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		rate := dssn.Bandwidth(r.Uint64N(400_000_000_000) + 1)
		depth := r.Uint64N(1 << 22)
		var p Pool
		p.set(0, rate, dssn.ByteCount(depth), 1)
		depth = p.terms.Load().depth
		var slow slowBucket
		slow.depth.SetInt64(int64(depth))
		slow.level.Set(&slow.depth)
		slow.rate.SetFrac(new(big.Int).SetUint64(uint64(rate)), big.NewInt(8*int64(time.Second)))
		now := time.Duration(0)
		for range 300 {
			d := time.Duration(r.Int64N(int64(time.Millisecond)))
			now += d
			slow.pass(d)
			got := p.draw(now, r.Uint64N(100_000))
			slow.level.Sub(&slow.level, new(big.Rat).SetUint64(got))
			if slow.level.Cmp(big.NewRat(-1, 1)) < 0 {
				t.Fatalf("%v, depth %d: at %v it gave %d bytes, more than there were", rate, depth, now, got)
			}
			// What is left agrees to the byte that rounding may cost or, where
			// the pool was full in between, add.
			left := p.draw(now, 1<<62)
			p.giveBack(left)
			f, _ := slow.level.Float64()
			if diff := f - float64(left); diff < -1 || diff > 1 {
				t.Fatalf("%v, depth %d: at %v there are %d bytes, by the book %.3f", rate, depth, now, left, f)
			}
		}
	}
}

// Workers that draw leases, settle, fall idle and wake: together they pass at most
// burst + rate × time, in every interval, not only from the beginning.
func TestSharesTogetherNeverPassMoreThanBurstPlusRateTimesTime(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 100 {
		workers := 1 + r.IntN(8)
		rate := dssn.Bandwidth(r.Uint64N(100_000_000_000) + 1)
		burst := dssn.ByteCount(r.Uint64N(1 << 23))
		_, shares := oneMeter(workers, rate, burst)
		type event struct {
			at    time.Duration
			bytes uint64
		}
		var passed []event
		now := time.Duration(0)
		for range 400 {
			now += time.Duration(r.Int64N(int64(200 * time.Microsecond)))
			s := shares[r.IntN(workers)]
			if r.IntN(4) == 0 {
				s.Return()
				continue
			}
			segments, size := 1+r.IntN(45), 40+r.IntN(1460)
			s.Fill(now, segments*size)
			var sum uint64
			for range segments {
				if s.Take(size) {
					sum += uint64(size)
				}
			}
			s.Settle()
			passed = append(passed, event{now, sum})
		}
		for i := range passed {
			var sum uint64
			for j := i; j < len(passed); j++ {
				sum += passed[j].bytes
				if most := uint64(burst) + uint64(rate.BytesIn(passed[j].at-passed[i].at)) + 1; sum > most {
					t.Fatalf("%d workers, %v, burst %d: %d bytes passed in %v, at most %d", workers, rate, burst, sum, passed[j].at-passed[i].at, most)
				}
			}
		}
	}
}

// One flow is on one worker: it gets the whole rate at once, whatever the number of
// workers, and several workers get it together.
func TestTheWholeRateGoesToWhoeverSends(t *testing.T) {
	for _, workers := range []int{1, 2, 8} {
		for busy := 1; busy <= workers; busy++ {
			_, shares := oneMeter(workers, 100*dssn.Mbps, 4*dssn.MiB)
			var taken uint64
			for ms := range 1001 {
				for again := true; again; {
					again = false
					for _, s := range shares[:busy] {
						s.Fill(time.Duration(ms)*time.Millisecond, 1000)
						if s.Take(1000) {
							taken += 1000
							again = true
						}
						s.Settle()
					}
				}
			}
			most := uint64(4*dssn.MiB) + uint64(dssn.Bandwidth(100*dssn.Mbps).BytesIn(time.Second))
			if least := most - uint64(workers)*leaseBytes - 1000*uint64(busy); taken > most || taken < least {
				t.Errorf("%d of %d workers got %d bytes in a second, want %d to %d", busy, workers, taken, least, most)
			}
		}
	}
}

// A small burst is not divided: ten packets' worth lets ten packets pass, wherever.
func TestASmallBurstIsWholeForEveryWorker(t *testing.T) {
	_, shares := oneMeter(8, 1, 10*1048)
	passed := 0
	for i := range 50 {
		s := shares[i%8]
		s.Fill(time.Microsecond, 1048)
		if s.Take(1048) {
			passed++
		}
		s.Settle()
	}
	if passed != 10 {
		t.Errorf("%d packets passed, want 10", passed)
	}
}

func TestARateOfZeroLetsNothingPassAndAChangeKeepsWhatIsThere(t *testing.T) {
	var p Pool
	p.set(0, 0, 1<<20, 1)
	if n := p.draw(time.Hour, 40); n != 0 {
		t.Errorf("a rate of zero gave %d bytes", n)
	}
	var q Pool
	q.set(0, dssn.Mbps, 1000, 1)
	q.draw(0, 600)
	q.set(0, 2*dssn.Mbps, 500, 1)
	if n := q.draw(0, 1000); n != 400 {
		t.Errorf("after a change there were %d bytes, want the 400 that were left", n)
	}
	q.set(time.Second, 2*dssn.Mbps, 2000, 1)
	if n := q.draw(time.Second, 5000); n != 500 && n != 2000 {
		t.Errorf("after a second and a greater depth there were %d bytes", n)
	}
	var r Pool
	r.set(0, 400*dssn.Gbps, 1<<30, 1)
	if n := r.draw(100*365*24*time.Hour, 1<<62); n != uint64(r.terms.Load().depth) {
		t.Errorf("after a hundred years there were %d bytes", n)
	}
}

// Real workers at once: nothing is lost and nothing made in the race.
func TestWorkersDrawingAtOnceGetWhatThereIsOnce(t *testing.T) {
	const workers, depth = 4, 8 << 20
	_, shares := oneMeter(workers, 1, depth) // nothing to speak of is earned meanwhile
	var wait sync.WaitGroup
	sums := make([]uint64, workers)
	for i, s := range shares {
		wait.Go(func() {
			for n := range 20_000 {
				s.Fill(1, 1000)
				if s.Take(1000) {
					sums[i] += 1000
				}
				s.Settle()
				if n%100 == 99 {
					s.Return()
				}
			}
			s.Return()
		})
	}
	wait.Wait()
	var sum uint64
	for _, n := range sums {
		sum += n
	}
	if most := uint64(depth - workers*leaseBytes); sum > most || sum < most-workers*1000 {
		t.Errorf("%d bytes passed of %d", sum, most)
	}
}

func BenchmarkShare(b *testing.B) {
	for name, burst := range map[string]dssn.ByteCount{"with a lease": dssn.MiB, "without": 64 * dssn.KiB} {
		b.Run(name, func(b *testing.B) {
			_, shares := oneMeter(1, 400*dssn.Gbps, burst)
			s, now := shares[0], time.Duration(0)
			for b.Loop() {
				now += 100
				s.Fill(now, 1000)
				s.Take(1000)
				s.Settle()
			}
		})
	}
}

// A worker reads its clock, waits for a processor, and draws after others who read theirs
// later: what it sends is within the rate and passes.
func TestAWorkerThatHadToWaitIsNotPolicedForIt(t *testing.T) {
	_, shares := oneMeter(2, 100*dssn.Gbps, 64*dssn.MiB)
	const read = 50 * time.Millisecond
	for _, now := range []time.Duration{read, read + 20*time.Millisecond, read} { // 20 ms are 250 MB
		for i := range shares {
			if i == 0 && now == read+20*time.Millisecond {
				continue // the one that waits
			}
			s := shares[i]
			for range 100 {
				s.Fill(now, 60_000)
				if !s.Take(60_000) {
					t.Fatalf("worker %d with a clock that says %v is policed", i, now)
				}
			}
		}
	}
}
