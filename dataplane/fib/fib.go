// Package fib finds the longest prefix that holds an address: which peer a
// packet goes to, which sources a peer may use, which meter counts it.
//
// A Table is built once and never changed; a new one is built aside and
// published in its place. It holds IPv4 and IPv6 prefixes side by side and may
// be read by any number of goroutines at once.
//
// The package is the only door to gaissmai/bart, which helps to build a Table
// and is the oracle of its tests; see index.go for what answers lookups.
package fib

import (
	"encoding/binary"
	"net/netip"

	"github.com/gaissmai/bart"
)

// Entry is a prefix and what it leads to. Bits of the address beyond the
// prefix length are ignored.
type Entry[V any] struct {
	Prefix netip.Prefix
	Value  V
}

// Table maps prefixes to values. The zero Table is empty and ready to use.
type Table[V comparable] struct {
	v6, v4 index
	values []V // each different value once
	len    int
}

// New builds a table. Of two entries with one prefix the later stays; an
// invalid prefix is left out.
func New[V comparable](entries []Entry[V]) *Table[V] {
	t := new(Table[V])
	numbers := make(map[V]uint32)
	tree := new(bart.Table[uint32])
	for _, e := range entries {
		if !e.Prefix.IsValid() {
			continue
		}
		n, ok := numbers[e.Value]
		if !ok {
			n = uint32(len(t.values)) + 1 // zero means none
			numbers[e.Value] = n
			t.values = append(t.values, e.Value)
		}
		tree.Insert(e.Prefix.Masked(), n)
	}
	t.len = tree.Size()
	t.v6.build(tree, false)
	t.v4.build(tree, true)
	return t
}

// Len returns the number of prefixes.
func (t *Table[V]) Len() int { return t.len }

// Lookup returns the value of the longest prefix that holds a. An IPv4-mapped
// IPv6 address is an IPv6 address; a zone is ignored.
func (t *Table[V]) Lookup(a netip.Addr) (v V, ok bool) {
	n := t.number(a)
	if n == 0 {
		return v, false
	}
	return t.values[n-1], true
}

func (t *Table[V]) number(a netip.Addr) uint32 {
	hi, lo, v4 := words(a)
	if v4 {
		return t.v4.lookup(hi, lo)
	}
	return t.v6.lookup(hi, lo)
}

// LookupBatch sets out[i] to the value for each address, or to the zero value.
// Neighbours' memory accesses overlap, so that a lookup in a large table costs a
// fraction of what it costs alone. Out must be as long as addrs.
func (t *Table[V]) LookupBatch(addrs []netip.Addr, out []V) {
	const group = 64
	var numbers [group]uint32
	for len(addrs) > 0 {
		n := min(len(addrs), group)
		t.v6.batch(addrs[:n], numbers[:n])
		for i, a := range addrs[:n] {
			if a.Is4() {
				hi, lo, _ := words(a)
				numbers[i] = t.v4.lookup(hi, lo)
			}
			var v V
			if k := numbers[i]; k != 0 {
				v = t.values[k-1]
			}
			out[i] = v
		}
		addrs, out = addrs[n:], out[n:]
	}
}

// words returns an address as two numbers; an IPv4 address fills the first bits.
func words(a netip.Addr) (hi, lo uint64, v4 bool) {
	if a.Is4() {
		b := a.As4()
		return uint64(binary.BigEndian.Uint32(b[:])) << 32, 0, true
	}
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:]), false
}

// Tree answers which prefixes hold another; it is slower than a Table and
// holds values of any kind.
type Tree[V any] struct{ tree bart.Table[V] }

// NewTree builds a tree as New builds a table.
func NewTree[V any](entries []Entry[V]) *Tree[V] {
	t := new(Tree[V])
	for _, e := range entries {
		if e.Prefix.IsValid() {
			t.tree.Insert(e.Prefix.Masked(), e.Value)
		}
	}
	return t
}

// Supernets returns the entries that hold all of p, itself included, longest first.
func (t *Tree[V]) Supernets(p netip.Prefix) []Entry[V] {
	var out []Entry[V]
	for q, v := range t.tree.Supernets(p.Masked()) {
		out = append(out, Entry[V]{q, v})
	}
	return out
}
