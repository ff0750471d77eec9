package gen

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"dssn/xdp"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

var hostA, hostB = net.HardwareAddr{2, 0, 0, 0, 0, 0xa}, net.HardwareAddr{2, 0, 0, 0, 0, 0xb}

func compile(t testing.TB, text string) []Compiled {
	t.Helper()
	f, err := ParseFile([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	c, err := f.Compile(hostA, hostB, 77)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// frame is what an engine sends.
func frame(h *xdp.TrafficHead, number, now uint64) []byte {
	b := make([]byte, max(h.Len, xdp.TrafficHeadBytes))
	copy(b, h.Bytes[:])
	Sign(b, h, number, now)
	return b[:h.Len]
}

func TestFramesAreWhatTheirProtocolWantsAsGopacketReadsThem(t *testing.T) {
	for _, c := range compile(t, everyProtocol+"\n[[stream]]\nname=\"plain\"\nsrc=\"10.0.0.1\"\ndst=\"10.0.0.2\"\nvlan=7\nunnumbered=true\nhop_limit=3\ntraffic_class=184\n") {
		for i := range c.Heads {
			number, now := uint64(i)*0x123456789, uint64(1e18)+uint64(i)*977
			number &= MaxNumber
			b := frame(&c.Heads[i], number, now)
			p := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Default)
			if e := p.ErrorLayer(); e != nil {
				t.Fatalf("%s, frame %d: %v\n%x", c.Name, i, e.Error(), b)
			}
			// Serialized again with computed lengths and checksums it must be the same.
			var list []gopacket.SerializableLayer
			var network gopacket.NetworkLayer
			final := netip.MustParseAddr("5f00:d55:14::")
			for _, l := range p.Layers() {
				switch l := l.(type) {
				case *layers.Ethernet:
					list = append(list, l)
				case *layers.Dot1Q:
					list = append(list, l)
				case *layers.IPv4:
					network, list = l, append(list, l)
				case *layers.IPv6:
					if c.Name == "tunnel" {
						l.DstIP = final.AsSlice()
					}
					network, list = l, append(list, l)
				case *layers.UDP:
					l.SetNetworkLayerForChecksum(network)
					list = append(list, l, gopacket.Payload(l.Payload))
				case *layers.TCP:
					if !l.SYN || l.ACK {
						t.Errorf("%s is not a SYN", c.Name)
					}
					l.SetNetworkLayerForChecksum(network)
					list = append(list, l, gopacket.Payload(l.Payload))
				}
			}
			out := gopacket.NewSerializeBuffer()
			if err := gopacket.SerializeLayers(out, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, list...); err != nil {
				t.Fatal(err)
			}
			want := out.Bytes()
			if c.Name == "tunnel" { // the wire has the carrier
				copy(want[14+24:], b[14+24:14+40])
			}
			want = want[:min(len(want), len(b))] // gopacket pads short frames
			if !bytes.Equal(want, b[:len(want)]) || len(want) < len(b) && !bytes.Equal(b[len(want):], make([]byte, len(b)-len(want))) {
				t.Fatalf("%s, frame %d\n got %x\nwant %x", c.Name, i, b, want)
			}
			s, ok := Find(b)
			if c.Name == "plain" {
				if ok {
					t.Error("an unnumbered frame has a signature")
				}
				continue
			}
			if !ok || s.Number != number || s.Time != now || s.Clock != 77 {
				t.Errorf("%s, frame %d: found %+v, %v; want number %d, time %d", c.Name, i, s, ok, number, now)
			}
		}
	}
}

func TestRangesTakeEveryValueInTurn(t *testing.T) {
	c := compile(t, everyProtocol)
	small := c[0]
	if len(small.Heads) != 28 {
		t.Fatalf("%d kinds of frames of 7 addresses and 4 ports, want 28", len(small.Heads))
	}
	seen := map[string]bool{}
	for i := range small.Heads {
		b := small.Heads[i].Bytes
		seen[string(b[30:36])] = true // destination and source port
	}
	if len(seen) != 28 {
		t.Errorf("%d different destinations and ports, want 28", len(seen))
	}
	mean := 0.0
	for i := range c[1].Heads {
		mean += float64(c[1].Heads[i].Len) / float64(len(c[1].Heads))
	}
	// 80 is the least for IPv6 with number and time.
	if want := (7*80 + 4*590 + 1*1514) / 12.0; math.Abs(mean-want) > 1e-9 || math.Abs(c[1].MeanBytes-want) > 1e-9 {
		t.Errorf("mean frame of the mix %g (says %g), want %g", mean, c[1].MeanBytes, want)
	}
}

func TestStreamFilesAreRefusedInOneSentence(t *testing.T) {
	head := "[[stream]]\nsrc=\"10.0.0.1\"\ndst=\"10.0.0.2\"\n"
	for text, want := range map[string]string{
		"":                                   "0 streams",
		head + "colour = 3\n":                `line 4: "stream.colour" is not a field`,
		head + "pps = \n":                    "line 4",
		"nonsense":                           "line 1",
		head + "size = 40\n":                 "a frame of 40 bytes",
		head + "size = 9000\n":               "a frame of 9000 bytes",
		head + "size = \"huge\"\n":           `size "huge" is not known`,
		head + "pps = -1\n":                  "-1 frames a second",
		head + "pps = nan\n":                 "NaN frames a second",
		head + "pps = 5\nbitrate = \"5M\"\n": "exclude each other",
		head + "bitrate = \"fast\"\n":        "bitrate",
		head + "src_port = 0\n":              "not a port",
		head + "src_port = \"9-2\"\n":        "not a port",
		head + "dst_port = true\n":           "not a port",
		head + "protocol = \"icmp\"\n":       `protocol "icmp" is not known`,
		head + "burst = 4\n":                 "a burst needs a rate",
		head + "carrier = \"5f00:d55:1::\"":  "a carrier is IPv6",
		head + "vlan = 5000\n":               "vlan 5000",
		head + "hop_limit = 300\n":           "hop_limit 300",
		head + "dst_mac = \"xx\"\n":          "not an Ethernet address",
		head + "count = -1\n":                "line 4",
		"[[stream]]\nsrc=\"10.0.0.1\"\ndst=\"2001:db8::1\"\n":                                         "different families",
		"[[stream]]\nsrc=\"10.0.0.9-10.0.0.1\"\ndst=\"10.0.0.2\"\n":                                   "not a range",
		"[[stream]]\nsrc=\"::-ffff::\"\ndst=\"::1\"\n":                                                "more than 65536 addresses",
		"[[stream]]\nname=\"a\"\nsrc=\"10.0.0.1-10.0.2.1\"\ndst=\"10.0.0.2\"\nsrc_port=\"1-65535\"\n": "more than 65536 different frames",
		head + "name = \"x\"\n" + head + "name = \"x\"\n":                                             `two streams are called "x"`,
	} {
		_, err := ParseFile([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q\n got %v\nwant one sentence with %q", text, err, want)
		}
	}
}

// slowTracker is the twin of Tracker: it keeps everything.
type slowTracker struct {
	numbers []uint64
	seen    map[uint64]bool
	delays  []time.Duration
}

func (s *slowTracker) arrive(number uint64, delay time.Duration) (fresh bool) {
	if s.seen[number] {
		return false
	}
	s.seen[number] = true
	s.numbers = append(s.numbers, number)
	s.delays = append(s.delays, delay)
	return true
}

func TestTrackerCountsLikeItsSlowTwin(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 1))
		var tr Tracker
		slow := slowTracker{seen: map[uint64]bool{}}
		duplicates, reordered, highest := uint64(0), uint64(0), int64(-1)
		type event struct {
			at     uint64
			number uint64
		}
		var events []event
		sent := uint64(3000 + r.IntN(100000))
		for n := range sent {
			for copies := 1; copies > 0; copies-- {
				if r.IntN(20) == 0 {
					continue // lost
				}
				if r.IntN(30) == 0 {
					copies++
				}
				events = append(events, event{n*1000 + uint64(r.ExpFloat64()*3000), n})
			}
		}
		slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
		for _, e := range events {
			delay := time.Duration(e.at - e.number*1000)
			if !slow.arrive(e.number, delay) {
				duplicates++
			} else if int64(e.number) < highest {
				reordered++
			}
			highest = max(highest, int64(e.number))
			tr.Arrive(Signature{Number: e.number, Time: e.number * 1000, Clock: 5}, 100, e.at, 5)
		}
		if tr.Frames != uint64(len(slow.numbers)) || tr.Duplicates != duplicates || tr.Reordered != reordered || tr.Late != 0 || Lost(sent, tr.TrafficReceived) != sent-uint64(len(slow.numbers)) {
			t.Fatalf("seed %d: %+v, want %d frames, %d duplicates, %d reordered", seed, tr.TrafficReceived, len(slow.numbers), duplicates, reordered)
		}
		slices.Sort(slow.delays)
		for _, p := range []float64{1, 25, 50, 90, 99, 99.9} {
			want := slow.delays[max(int(p/100*float64(len(slow.delays))+0.5)-1, 0)]
			if got := tr.Delay.At(p); float64(got-want) > 0.002*float64(want)+3 || float64(want-got) > 0.002*float64(want)+3 {
				t.Errorf("seed %d: %g %% of delays under %v, want %v", seed, p, got, want)
			}
		}
		if tr.Delay.Max() < slow.delays[len(slow.delays)-1]*999/1000 {
			t.Errorf("seed %d: longest delay %v, want %v", seed, tr.Delay.Max(), slow.delays[len(slow.delays)-1])
		}
	}
}

func TestWhatIsOlderThanTheWindowIsOnlyLate(t *testing.T) {
	var tr Tracker
	for _, n := range []uint64{0, 1, 1 << 20, 2, 1<<20 - xdp.TrafficWindow + 1, 1<<20 - xdp.TrafficWindow} {
		tr.Arrive(Signature{Number: n}, 60, 1, 0)
	}
	if tr.Frames != 4 || tr.Late != 2 || tr.Reordered != 1 || tr.Next != 1<<20+1 {
		t.Errorf("%+v, want 4 frames, 2 late, 1 reordered", tr.TrafficReceived)
	}
}

func TestBucketsAreTheLibrarysBuckets(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var h Histogram
	lib := newLibraryHistogram()
	for range 200_000 {
		d := time.Duration(r.Uint64N(1 << (1 + r.UintN(36))))
		h.Record(d)
		if err := lib.RecordValue(min(int64(d), int64(time.Minute))); err != nil {
			t.Fatal(err)
		}
	}
	mine, theirs := h.hdr(), lib
	for p := 0.0; p <= 100; p += 0.25 {
		a, b := mine.ValueAtQuantile(p), theirs.ValueAtQuantile(p)
		if a != b && a < int64(time.Minute)*999/1000 {
			t.Fatalf("%g %%: %d, the library's own recording gives %d", p, a, b)
		}
	}
	if mine.TotalCount() != theirs.TotalCount() || h.Count() != 200_000 {
		t.Errorf("%d recorded, want 200000", h.Count())
	}
}

func TestScheduleKeepsRatesAndBursts(t *testing.T) {
	c := compile(t, `
[[stream]]
name = "a"
src = "10.0.0.1"
dst = "10.0.0.2"
pps = 1000
[[stream]]
name = "b"
src = "10.0.0.1"
dst = "10.0.0.2"
pps = 300
burst = 10
[[stream]]
name = "c"
src = "10.0.0.1"
dst = "10.0.0.2"
pps = 7
count = 20
`)
	var streams []xdp.TrafficStream
	for _, s := range c {
		streams = append(streams, s.TrafficStream)
	}
	s := NewSchedule(0, streams)
	now, last, run, longest := uint64(0), uint64(0), 0, 0
	for now < uint64(10*time.Second)<<10 {
		which, ok := s.Next(now)
		if !ok {
			due, done := s.Due()
			if done || due <= now {
				t.Fatalf("nothing to send at %d, next at %d, %v", now, due, done)
			}
			now = due
			continue
		}
		if which == 1 {
			if now != last {
				run = 0
			}
			run++
			longest, last = max(longest, run), now
		}
	}
	for i, want := range []uint64{10000, 3000, 20} {
		if got := s.Sent(i).Frames; got < want || got > want+10 {
			t.Errorf("stream %d: %d frames in 10 s, want %d", i, got, want)
		}
	}
	if longest != 10 {
		t.Errorf("%d frames back to back, want 10", longest)
	}
}

func TestALateSenderMakesUpAtTwiceTheRate(t *testing.T) {
	s := NewSchedule(0, []xdp.TrafficStream{{Interval: 1000 << 10, Burst: 1, Count: 1 << 40}})
	now := uint64(50*time.Millisecond) << 10 // the CPU was away
	sent := 0
	for end := now + uint64(25*time.Millisecond)<<10; now < end; now += 100 << 10 {
		if _, ok := s.Next(now); ok {
			sent++
		}
	}
	if sent < 49_000 || sent > 55_000 {
		t.Errorf("%d frames in 25 ms after 50 ms of absence at 1 million a second, want 50000 and what 2 ms hold", sent)
	}
	if v := s.Sent(0); v.Behind != 0 || v.Worst != 50*time.Millisecond {
		t.Errorf("behind %v, worst %v; want 0 and 50 ms", v.Behind, v.Worst)
	}
	now += uint64(time.Second) << 10
	s.Next(now)
	if v := s.Sent(0); v.Behind < 900*time.Millisecond {
		t.Errorf("behind %v after a second of absence, want most of it", v.Behind)
	}
}

func TestASleepySenderKeepsItsRate(t *testing.T) {
	s := NewSchedule(0, []xdp.TrafficStream{{Interval: 683_000 << 10, Burst: 1, Count: 1 << 40}})
	for now := uint64(0); now < uint64(10*time.Second)<<10; now += 1_100_000 << 10 { // wakes every 1.1 ms
		for {
			if _, ok := s.Next(now); !ok {
				break
			}
		}
	}
	if got, want := s.Sent(0).Frames, uint64(14641); got < want*99/100 || got > want+1 {
		t.Errorf("%d frames in 10 s at one every 683 µs, want %d", got, want)
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add([]byte(everyProtocol))
	f.Add([]byte("[[stream]]\nsrc=\"10.0.0.1\"\ndst=\"10.0.0.2\"\nsize=[60,61]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := ParseFile(text)
		if err != nil {
			if err.Error() == "" || len(err.Error()) > 4096 {
				t.Fatalf("an error without a usable sentence: %q", err)
			}
			return
		}
		c, err := file.Compile(hostA, hostB, 1)
		if err != nil {
			return // all streams together may be too many
		}
		for _, s := range c {
			h := &s.Heads[0]
			if b := frame(h, 5, 6); h.Sign > 0 {
				if sig, ok := Find(b); !ok || sig.Number != 5 {
					t.Fatalf("%q: its own signature is not found", s.Name)
				}
			}
		}
	})
}

func FuzzFind(f *testing.F) {
	for _, c := range compile(f, everyProtocol) {
		f.Add(frame(&c.Heads[0], 1, 2))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, ok := Find(b)
		if !ok {
			return
		}
		want := make([]byte, SignatureBytes)
		s.Put(want)
		if i := bytes.Index(b, want); i < 0 {
			t.Fatalf("%+v does not stand in %x", s, b)
		}
		if binary.BigEndian.Uint16(want) != magic || s.Number > MaxNumber {
			t.Fatalf("%+v is not possible", s)
		}
	})
}

func newLibraryHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(time.Minute), 3)
}
