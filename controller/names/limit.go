package names

import (
	"net/netip"
	"time"
)

// Each network (a /64, or one IPv4 address) has burst answers at once and rate a
// second from then on. At most maxSources networks are remembered; beyond them
// all new ones share one allowance until the others have rested.
const (
	rate       = 200
	burst      = 400
	maxSources = 4096
)

// limiter holds, by network, the time until which its answers are paid for: one
// virtual-scheduling number each (GCRA). The zero value is ready.
type limiter struct {
	paid map[netip.Prefix]time.Time
}

// allow counts one answer to a, and reports whether it may be sent.
func (l *limiter) allow(now time.Time, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	bits := 64
	if a.Is4() {
		bits = 32
	}
	n, _ := a.Prefix(bits) // never fails: bits fit the address
	if l.paid == nil {
		l.paid = map[netip.Prefix]time.Time{}
	}
	if _, known := l.paid[n]; !known && len(l.paid) >= maxSources {
		l.forget(now)
		if len(l.paid) >= maxSources {
			n = netip.Prefix{}
		}
	}
	at := l.paid[n]
	if at.Before(now) {
		at = now
	}
	at = at.Add(time.Second / rate)
	if at.Sub(now) > burst*time.Second/rate {
		return false
	}
	l.paid[n] = at
	return true
}

// forget drops the networks that have rested. It looks at a part of them only, so
// that a flood of made-up sources costs a bounded time each.
func (l *limiter) forget(now time.Time) {
	looked := 0
	for n, at := range l.paid {
		if !at.After(now) {
			delete(l.paid, n)
		}
		if looked++; looked == 64 {
			return
		}
	}
}
