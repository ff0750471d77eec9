package fib

import (
	"math/bits"
	"net/netip"

	"github.com/gaissmai/bart"
)

// index finds the longest prefix by a binary search over the lengths that
// occur (Waldvogel, Varghese, Turner and Plattner, SIGCOMM 1997): is there
// anything at the middle length? Then look among the longer ones, else among
// the shorter. So that a longer prefix is found, it leaves a marker at each
// middle length on the way to it, and so that a marker never leads astray, it
// carries the answer found so far.
//
// Identifiers have few lengths (region, registrant, grade, kind, whole), so a
// lookup is two or three probes of one hash table, of which one misses the
// cache. All prefixes and markers of all lengths share the table: open
// addressing, linear probing, at most two thirds full.
type index struct {
	lengths []length // that occur, ascending, without zero
	slots   []slot   // power of two
	shift   uint8    // 64 − log2(len(slots))
	root    uint32   // value of the prefix of length zero, 0 if there is none
}

// length is a prefix length with its masks.
type length struct {
	bits   uint8
	hi, lo uint64
}

// slot is a prefix or marker, 24 bytes. Length zero is an empty slot.
type slot struct {
	hi, lo uint64
	value  uint32 // number of the longest prefix's value up to here, 0 for none
	bits   uint8
}

func mask(n int) (hi, lo uint64) {
	if n <= 64 {
		return ^uint64(0) << (64 - n), 0
	}
	return ^uint64(0), ^uint64(0) << (128 - n)
}

// hash spreads a masked address and its length over 64 bits.
func hash(hi, lo uint64, n uint8) uint64 {
	a, b := bits.Mul64(hi^0x9e3779b97f4a7c15, lo^0xd1b54a32d192ed03^uint64(n)<<56)
	return (a ^ b ^ uint64(n)) * 0xff51afd7ed558ccd
}

// build fills the index with tree's prefixes of one family.
func (x *index) build(tree *bart.Table[uint32], v4 bool) {
	all := tree.All6()
	if v4 {
		all = tree.All4()
	}
	var present [129]bool
	for p := range all {
		present[p.Bits()] = true
	}
	for n := 1; n <= 128; n++ {
		if present[n] {
			hi, lo := mask(n)
			x.lengths = append(x.lengths, length{uint8(n), hi, lo})
		}
	}
	// Count with markers, then make room, then fill: prefixes first, so that a
	// marker never takes a prefix's place.
	marks := make(map[slot]struct{})
	entries := 0
	for p := range all {
		if p.Bits() == 0 {
			continue
		}
		entries++
		x.path(p, func(l length, hi, lo uint64) {
			marks[slot{hi: hi & l.hi, lo: lo & l.lo, bits: l.bits}] = struct{}{}
		})
	}
	if entries == 0 {
		for p, v := range all {
			if p.Bits() == 0 {
				x.root = v
			}
		}
		return
	}
	size := 4
	for 2*size < 3*(entries+len(marks)) {
		size *= 2
	}
	x.slots = make([]slot, size)
	x.shift = uint8(64 - bits.TrailingZeros(uint(size)))
	for p, v := range all {
		if p.Bits() == 0 {
			x.root = v
			continue
		}
		hi, lo, _ := words(p.Addr())
		x.insert(slot{hi, lo, v, uint8(p.Bits())})
	}
	for m := range marks {
		m.value, _ = tree.LookupPrefix(netip.PrefixFrom(address(m.hi, m.lo, v4), int(m.bits)))
		x.insert(m)
	}
}

// path calls f for each middle length, shorter than p, on the way to p.
func (x *index) path(p netip.Prefix, f func(l length, hi, lo uint64)) {
	hi, lo, _ := words(p.Addr())
	for a, b := 0, len(x.lengths); a < b; {
		m := (a + b) / 2
		switch l := x.lengths[m]; {
		case int(l.bits) == p.Bits():
			return
		case int(l.bits) < p.Bits():
			f(l, hi, lo)
			a = m + 1
		default:
			b = m
		}
	}
}

func address(hi, lo uint64, v4 bool) netip.Addr {
	var b [16]byte
	for i := range 8 {
		b[i], b[8+i] = byte(hi>>(56-8*i)), byte(lo>>(56-8*i))
	}
	if v4 {
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	return netip.AddrFrom16(b)
}

// insert adds s unless its prefix is there.
func (x *index) insert(s slot) {
	for i := hash(s.hi, s.lo, s.bits) >> x.shift; ; i = (i + 1) & uint64(len(x.slots)-1) {
		t := &x.slots[i]
		if t.bits == 0 {
			*t = s
			return
		}
		if t.hi == s.hi && t.lo == s.lo && t.bits == s.bits {
			return
		}
	}
}

// lookup returns the number of the longest prefix's value, 0 for none.
func (x *index) lookup(hi, lo uint64) uint32 {
	best := x.root
	for a, b := 0, len(x.lengths); a < b; {
		m := (a + b) / 2
		l := &x.lengths[m]
		if s := x.probe(hi&l.hi, lo&l.lo, l.bits); s != nil {
			best = s.value
			a = m + 1
		} else {
			b = m
		}
	}
	return best
}

func (x *index) probe(hi, lo uint64, n uint8) *slot {
	for i := hash(hi, lo, n) >> x.shift; ; i = (i + 1) & uint64(len(x.slots)-1) {
		s := &x.slots[i]
		if s.hi == hi && s.lo == lo && s.bits == n {
			return s
		}
		if s.bits == 0 {
			return nil
		}
	}
}

// batch is lookup for up to 64 IPv6 addresses, a step of the search for all of
// them at a time: first every slot's place is computed and touched, then read.
func (x *index) batch(addrs []netip.Addr, out []uint32) {
	type search struct {
		hi, lo uint64
		a, b   uint8
	}
	var s [64]search
	var place [64]uint64
	n := uint8(len(x.lengths))
	for i, a := range addrs {
		s[i].hi, s[i].lo, _ = words(a)
		s[i].b = n
		out[i] = x.root
	}
	for live := n > 0; live; {
		live = false
		var touched uint8
		for i := range addrs {
			if q := &s[i]; q.a < q.b {
				l := &x.lengths[(q.a+q.b)/2]
				place[i] = hash(q.hi&l.hi, q.lo&l.lo, l.bits) >> x.shift
				touched |= x.slots[place[i]].bits
			}
		}
		if touched == 0 && len(x.slots) == 0 {
			return // keeps the touching from being optimised away
		}
		for i := range addrs {
			q := &s[i]
			if q.a >= q.b {
				continue
			}
			m := (q.a + q.b) / 2
			l := &x.lengths[m]
			hi, lo := q.hi&l.hi, q.lo&l.lo
			at := place[i]
			for {
				t := &x.slots[at]
				if t.hi == hi && t.lo == lo && t.bits == l.bits {
					out[i] = t.value
					q.a = m + 1
					break
				}
				if t.bits == 0 {
					q.b = m
					break
				}
				at = (at + 1) & uint64(len(x.slots)-1)
			}
			live = live || q.a < q.b
		}
	}
}
