package fib

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"github.com/gaissmai/bart"

	"dssn/internal/goal"
	"dssn/internal/need"
)

// slow is the definition: look at every prefix.
func slow(entries []Entry[int], a netip.Addr) (v int, ok bool) {
	best := -1
	for _, e := range entries {
		if e.Prefix.Masked().Contains(a) && e.Prefix.Bits() >= best {
			best, v, ok = e.Prefix.Bits(), e.Value, true
		}
	}
	return
}

// few draws an address with few distinct bits, so that prefixes nest.
func few(r *rand.Rand, v4 bool) netip.Addr {
	var b [16]byte
	for i := range b {
		b[i] = byte(r.IntN(2)) << r.IntN(8)
		if r.IntN(3) > 0 {
			b[i] = 0
		}
	}
	if v4 {
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	return netip.AddrFrom16(b)
}

func TestLookupAgreesWithItsSlowTwin(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for round := range 400 {
		var entries []Entry[int]
		for i := range r.IntN(60) {
			a := few(r, r.IntN(3) == 0)
			bits := r.IntN(a.BitLen() + 1)
			if round%2 == 0 { // few lengths
				bits = bits / 16 * 16
			}
			entries = append(entries, Entry[int]{netip.PrefixFrom(a, bits), i % 7})
		}
		table := New(entries)
		var addrs []netip.Addr
		for range 150 {
			addrs = append(addrs, few(r, r.IntN(3) == 0))
		}
		batch := make([]int, len(addrs))
		table.LookupBatch(addrs, batch)
		for i, a := range addrs {
			want, wantOK := slow(entries, a)
			got, ok := table.Lookup(a)
			if got != want || ok != wantOK || batch[i] != want {
				t.Fatalf("%v in %v: got %d %v, in a batch %d, want %d %v", a, entries, got, ok, batch[i], want, wantOK)
			}
		}
	}
}

func FuzzLookup(f *testing.F) {
	f.Add(uint64(1), uint8(30))
	f.Fuzz(func(t *testing.T, seed uint64, n uint8) {
		r := rand.New(rand.NewPCG(seed, 2))
		var tree bart.Table[int]
		var entries []Entry[int]
		for i := range int(n) {
			a := few(r, r.IntN(3) == 0)
			p := netip.PrefixFrom(a, r.IntN(a.BitLen()+1)).Masked()
			entries = append(entries, Entry[int]{p, i})
			tree.Insert(p, i)
		}
		table := New(entries)
		if table.Len() != tree.Size() {
			t.Fatalf("%d prefixes, want %d", table.Len(), tree.Size())
		}
		for range 100 {
			a := few(r, r.IntN(3) == 0)
			want, wantOK := tree.Lookup(a)
			if got, ok := table.Lookup(a); got != want || ok != wantOK {
				t.Fatalf("%v: got %d %v, want %d %v", a, got, ok, want, wantOK)
			}
		}
	})
}

func TestTheZeroTableIsEmpty(t *testing.T) {
	var table Table[int]
	if _, ok := table.Lookup(netip.IPv6Unspecified()); ok || table.Len() != 0 {
		t.Error("the zero table holds something")
	}
	table.LookupBatch([]netip.Addr{netip.IPv6Unspecified()}, make([]int, 1))
}

// identifiers draws n prefixes as a catalogue has them: a thousand registrants
// with routes of their own, some for a grade or a kind, and whole identifiers.
func identifiers(n int) []Entry[int] {
	r := rand.New(rand.NewPCG(7, 7))
	entries := make([]Entry[int], 0, n)
	seen := make(map[netip.Prefix]bool, n)
	for len(entries) < n {
		b := [16]byte{0x3f, 0xff, 0x0d, 0x55, 0, byte(r.IntN(20)), 0, byte(r.IntN(50))}
		bits := 128
		switch k := r.IntN(100); {
		case k == 0:
			bits = 64
		case k == 1:
			bits, b[8] = 65, 0x80
		case k < 6:
			bits = 80
		}
		if bits >= 80 {
			b[8], b[9] = byte(r.IntN(9))<<4|byte(r.IntN(16)), byte(r.IntN(8))<<4|1
		}
		if bits == 128 {
			for i := 10; i < 16; i++ {
				b[i] = byte(r.Uint32())
			}
		}
		p := netip.PrefixFrom(netip.AddrFrom16(b), bits).Masked()
		if bits < 128 && seen[p] {
			bits = 128
			for i := 10; i < 16; i++ {
				b[i] = byte(r.Uint32())
			}
			p = netip.PrefixFrom(netip.AddrFrom16(b), 128)
		}
		if seen[p] {
			continue
		}
		seen[p] = true
		entries = append(entries, Entry[int]{p, r.IntN(500)})
	}
	return entries
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestAMillionIdentifiersFitTheirMemory(t *testing.T) {
	need.Long(t)
	const n = 1_000_000
	entries := identifiers(n)
	before := heap()
	table := New(entries)
	per := float64(heap()-before) / n
	if per > 120 {
		t.Errorf("%.0f bytes a prefix, want at most 120", per)
	}
	t.Logf("%.0f bytes a prefix", per)
	runtime.KeepAlive(table)
	runtime.KeepAlive(entries)
}

// BenchmarkMillion looks identifiers up at random in a table of a million.
func BenchmarkMillion(b *testing.B) {
	entries := identifiers(1_000_000)
	r := rand.New(rand.NewPCG(8, 8))
	addrs := make([]netip.Addr, 1<<16)
	for i := range addrs {
		addrs[i] = entries[r.IntN(len(entries))].Prefix.Addr()
	}
	before := heap()
	table := New(entries)
	size := float64(heap()-before) / float64(len(entries)) // bytes a prefix
	var tree bart.Table[int]
	for _, e := range entries {
		tree.Insert(e.Prefix, e.Value)
	}
	per := map[string]float64{} // ns a lookup
	run := func(name string, each int, loop func(b *testing.B)) {
		b.Run(name, func(b *testing.B) {
			loop(b)
			per[name] = float64(b.Elapsed().Nanoseconds()) / float64(b.N) / float64(each)
			if each > 1 {
				b.ReportMetric(per[name], "ns/lookup")
			}
		})
	}
	run("one by one", 1, func(b *testing.B) {
		i, sum := 0, 0
		for b.Loop() {
			// The next address depends on the last answer, as it would in a loop
			// that handles one packet at a time.
			v, _ := table.Lookup(addrs[(i+sum)&(len(addrs)-1)])
			sum += v & 1
			i++
		}
	})
	run("batches of 64", 64, func(b *testing.B) {
		out := make([]int, 64)
		i := 0
		for b.Loop() {
			at := i & (len(addrs) - 1)
			table.LookupBatch(addrs[at:at+64], out)
			i += 64
		}
	})
	run("bart one by one", 1, func(b *testing.B) {
		i, sum := 0, 0
		for b.Loop() {
			v, _ := tree.Lookup(addrs[(i+sum)&(len(addrs)-1)])
			sum += v & 1
			i++
		}
	})
	bart := per["bart one by one"]
	goal.Head(os.Stdout)
	one, batch := per["one by one"], per["batches of 64"]
	goal.Row(os.Stdout, "FIB, 1,000,000 identifiers, one by one", fmt.Sprintf("%.0f ns (bart in the same run %.0f ns)", one, bart), "≤ 150 ns", one <= 150)
	goal.Row(os.Stdout, "FIB, in batches of 64", fmt.Sprintf("%.0f ns each", batch), "≤ 60 ns", batch <= 60)
	goal.Row(os.Stdout, "FIB, memory", fmt.Sprintf("%.0f bytes a prefix", size), "≤ 120", size <= 120)
}
