package tunnel

import (
	"crypto/subtle"
	"encoding/binary"
	"io"
	"net/netip"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

// Cookies (paper, section 5.4.7): a node that is busy answers a handshake
// message not with work but with a cookie, sealed so that only the sender of
// that message can read it, and made from its address so that only who
// receives there can use it.

const cookieLife = 120 * time.Second

// baker makes cookies for others.
type baker struct {
	secret [32]byte
	since  time.Duration
	warm   bool
	seal   [32]byte // key under which cookies travel
}

// cookie is what the sender at a must know. The secret changes every two minutes.
func (k *baker) cookie(now time.Duration, random io.Reader, a netip.AddrPort) (c [16]byte, err error) {
	if !k.warm || now-k.since >= cookieLife {
		if _, err := io.ReadFull(random, k.secret[:]); err != nil {
			return c, err
		}
		k.since, k.warm = now, true
	}
	b, _ := a.MarshalBinary() // never fails
	return mac128(k.secret[:], b), nil
}

// knows reports whether b, whole, carries a second MAC made with a's cookie.
func (k *baker) knows(now time.Duration, random io.Reader, b []byte, a netip.AddrPort) bool {
	c, err := k.cookie(now, random, a)
	if err != nil {
		return false
	}
	want := mac128(c[:], b[:len(b)-macLen])
	return subtle.ConstantTimeCompare(want[:], b[len(b)-macLen:]) == 1
}

// reply answers b with a cookie.
func (k *baker) reply(now time.Duration, random io.Reader, b []byte, a netip.AddrPort) ([]byte, error) {
	c, err := k.cookie(now, random, a)
	if err != nil {
		return nil, err
	}
	m := make([]byte, 32, cookieLen)
	binary.LittleEndian.PutUint32(m, typeCookie)
	copy(m[4:8], b[4:8])
	if _, err := io.ReadFull(random, m[8:32]); err != nil {
		return nil, err
	}
	x, err := chacha20poly1305.NewX(k.seal[:])
	if err != nil {
		return nil, err
	}
	return x.Seal(m, m[8:32], c[:], b[len(b)-2*macLen:len(b)-macLen]), nil
}

// jar holds the cookie that a peer gave us.
type jar struct {
	mac1   [16]byte // of the last message sent
	sent   bool
	cookie [16]byte
	at     time.Duration
	full   bool
}

// take opens a cookie reply; false if it does not answer what was last sent.
func (j *jar) take(now time.Duration, key *[32]byte, b []byte) bool {
	if !j.sent {
		return false
	}
	x, err := chacha20poly1305.NewX(key[:])
	if err != nil {
		return false
	}
	var c [16]byte
	if _, err := x.Open(c[:0], b[8:32], b[32:], j.mac1[:]); err != nil {
		return false
	}
	j.cookie, j.at, j.full = c, now, true
	return true
}

// stamp appends both MACs to a message to p.
func (j *jar) stamp(now time.Duration, gate *Gate, b []byte) []byte {
	copy(j.mac1[:], gate.compute(b))
	j.sent = true
	b = append(b, j.mac1[:]...)
	var second [16]byte
	if j.full && now-j.at < cookieLife {
		second = mac128(j.cookie[:], b)
	}
	return append(b, second[:]...)
}

// limiter lets each address begin few handshakes while the node is busy: five
// at once, twenty a second. It remembers a bounded number of addresses, an IPv6
// /64 counting as one.
type limiter struct {
	seen  map[netip.Addr]allowance
	swept time.Duration // when addresses were last forgotten, once a second at most
}

type allowance struct {
	tokens time.Duration // in time it took to earn them
	at     time.Duration
}

const (
	handshakeCost    = time.Second / 20
	handshakeBurst   = 5 * handshakeCost
	limiterAddresses = 1 << 16
)

func (l *limiter) sweep(now time.Duration) {
	if now-l.swept < time.Second {
		return
	}
	l.swept = now
	for k, v := range l.seen {
		if now-v.at >= time.Second {
			delete(l.seen, k)
		}
	}
}

func (l *limiter) allow(now time.Duration, a netip.Addr) bool {
	a = a.Unmap()
	if a.Is6() {
		p, _ := a.Prefix(64)
		a = p.Addr()
	}
	e, ok := l.seen[a]
	if !ok {
		if len(l.seen) >= limiterAddresses {
			l.sweep(now)
			if len(l.seen) >= limiterAddresses {
				return false
			}
		}
		if l.seen == nil {
			l.seen = make(map[netip.Addr]allowance)
		}
		l.seen[a] = allowance{handshakeBurst - handshakeCost, now}
		return true
	}
	e.tokens = min(e.tokens+max(now-e.at, 0), handshakeBurst)
	e.at = now
	ok = e.tokens >= handshakeCost
	if ok {
		e.tokens -= handshakeCost
	}
	l.seen[a] = e
	return ok
}
