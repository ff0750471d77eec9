package xdp

import (
	"strings"
	"testing"
)

func TestMemoryIsDealtOnceAndStaysInBounds(t *testing.T) {
	u, err := NewUMEM(UMEMOptions{Frames: 8})
	if err != nil {
		t.Fatal(err)
	}
	a, err := u.NewPool(5)
	if err != nil {
		t.Fatal(err)
	}
	b, err := u.NewPool(3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.NewPool(1); err == nil || !strings.Contains(err.Error(), "FramesFor") {
		t.Errorf("a ninth frame of eight: %v", err)
	}
	seen := map[uint64]bool{}
	for _, p := range []*Pool{a, b} {
		for addr, ok := p.Get(); ok; addr, ok = p.Get() {
			if seen[addr] || addr%2048 != 0 || len(u.Frame(addr+100)) != 2048 {
				t.Errorf("frame %#x", addr)
			}
			seen[addr] = true
		}
	}
	if len(seen) != 8 {
		t.Errorf("%d frames were dealt", len(seen))
	}
	a.Put(2048 + 77) // anywhere in the frame
	if addr, ok := a.Get(); !ok || addr != 2048 {
		t.Errorf("got %#x back, want the frame's start", addr)
	}
	before := a.Free()
	a.PutAll([]Desc{{Addr: 2048 + 77}, {Addr: 4096}})
	last, _ := a.Get()
	first, _ := a.Get()
	if last != 4096 || first != 2048 || a.Free() != before {
		t.Errorf("got %#x and %#x back, and %d frames are free of %d", first, last, a.Free(), before)
	}
	for _, d := range []Desc{{Addr: 8 * 2048, Len: 1}, {Addr: 8*2048 - 1, Len: 2}, {Addr: 1 << 63, Len: 1}, {Addr: ^uint64(0), Len: 10}} {
		if b := u.Bytes(d); b != nil {
			t.Errorf("%+v gave %d bytes outside", d, len(b))
		}
	}
	if err := u.Close(); err != nil {
		t.Error(err)
	}
	if err := u.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

func TestImpossibleMemoryIsRefused(t *testing.T) {
	for _, o := range []UMEMOptions{{FrameSize: 1000}, {Frames: -1}, {Frames: 1 << 30}, {Headroom: 2000}, {Headroom: -1}} {
		if u, err := NewUMEM(o); err == nil {
			u.Close()
			t.Errorf("%+v was accepted", o)
		}
	}
}

func TestFramesForIsItsFormula(t *testing.T) {
	if got, want := FramesFor(SocketOptions{Fill: 1, Rx: 2, Tx: 4, Completion: 8}, 3, 2, 64), 3*15+2*64; got != want {
		t.Errorf("got %d, want %d", got, want)
	}
}

// ticks is the cost of bytes as the program computes it.
func ticks(v meterValues, bytes uint64) uint64 { return bytes * v.cost >> 20 }

func TestAMeterCostsItsRate(t *testing.T) {
	for _, rate := range []uint64{8000, 1e6, 2.5e6, 1e9, 10e9, 100e9, 400e9, 800e9} {
		v := TransitMeter{BitsPerSecond: rate, BurstBytes: 1 << 20}.values()
		for _, bytes := range []uint64{64, 1500, 65535} {
			got, exact := float64(ticks(v, bytes)), float64(bytes)*8*64e9/float64(rate)
			if got > exact || exact-got > 1+exact*1e-4 {
				t.Errorf("%d bytes at %d bit/s cost %.0f ticks, exactly %.3f", bytes, rate, got, exact)
			}
			if hi := float64(bytes) * float64(v.cost); hi >= 1<<64 {
				t.Errorf("%d bytes at %d bit/s overflow", bytes, rate)
			}
		}
		// What CPUs may have drawn ahead is part of the burst.
		depth := uint64(1<<20) - uint64(v.lease)*uint64(possibleCPUs())
		if exact := float64(depth) * 8 * 64e9 / float64(rate); float64(v.burst) > exact || float64(v.burst) < exact*0.999-1 {
			t.Errorf("a burst of 1 MiB at %d bit/s is %d ticks, exactly %.0f", rate, v.burst, exact)
		}
	}
	slow := TransitMeter{}.values()
	if want := (TransitMeter{BitsPerSecond: 8000, BurstBytes: 9216}).values(); slow != want {
		t.Errorf("nothing given is %+v, want %+v", slow, want)
	}
}

func TestClassesAreTheirDSCP(t *testing.T) {
	for class, dscp := range []uint8{0, 10, 26, 46} {
		if got := TrafficClass(uint8(class)); got != dscp<<2 {
			t.Errorf("class %d is %#x, want DSCP %d", class, got, dscp)
		}
	}
}
