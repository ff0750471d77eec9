package xdpport

import "sync/atomic"

func newTable(n *Neighbours) *atomic.Pointer[Neighbours] {
	t := &atomic.Pointer[Neighbours]{}
	t.Store(n)
	return t
}
