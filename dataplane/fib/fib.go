// Package fib finds the longest prefix that holds an address: which peer a
// packet goes to, which sources a peer may use, which meter counts it.
//
// A Table is built once and never changed; a new one is built aside and
// published in its place. It holds IPv4 and IPv6 prefixes side by side and may
// be read by any number of goroutines at once.
//
// The package is the only door to gaissmai/bart.
package fib

import (
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
type Table[V any] struct{ tree bart.Table[V] }

// New builds a table. Of two entries with one prefix the later stays; an
// invalid prefix is left out.
func New[V any](entries []Entry[V]) *Table[V] {
	t := new(Table[V])
	for _, e := range entries {
		if e.Prefix.IsValid() {
			t.tree.Insert(e.Prefix.Masked(), e.Value)
		}
	}
	return t
}

// Len returns the number of prefixes.
func (t *Table[V]) Len() int { return t.tree.Size() }

// Lookup returns the value of the longest prefix that holds a. An IPv4-mapped
// IPv6 address is an IPv6 address.
func (t *Table[V]) Lookup(a netip.Addr) (V, bool) { return t.tree.Lookup(a) }

// Get returns the value of exactly this prefix.
func (t *Table[V]) Get(p netip.Prefix) (V, bool) { return t.tree.Get(p.Masked()) }

// Supernets returns the entries that hold all of p, itself included, longest first.
func (t *Table[V]) Supernets(p netip.Prefix) []Entry[V] {
	var out []Entry[V]
	for q, v := range t.tree.Supernets(p.Masked()) {
		out = append(out, Entry[V]{q, v})
	}
	return out
}
