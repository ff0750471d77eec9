package worker_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"dssn/dataplane/aead"
	"dssn/dataplane/porttest"
	"dssn/dataplane/session"
)

// sealed is a transport message to b with this counter, around a packet.
func (a *node) sealed(counter uint64, p []byte) []byte {
	padded := (len(p) + 15) &^ 15
	m := make([]byte, session.HeaderLen+padded+aead.TagSize)
	binary.LittleEndian.PutUint32(m, session.TypeTransport)
	binary.LittleEndian.PutUint32(m[4:], a.session.Remote)
	binary.LittleEndian.PutUint64(m[8:], counter)
	copy(m[session.HeaderLen:], p)
	job := []aead.Job{{Key: a.session.Send, Buf: m[session.HeaderLen:]}}
	binary.LittleEndian.PutUint64(job[0].Nonce[4:], counter)
	aead.Seal(job)
	return m
}

// knows is everything that a message could change at an end.
type knows struct {
	counter                        uint64
	confirmed                      bool
	endpoint, local                string
	sent, received                 uint64
	lastReceived, owing, unanswerd int64
	waiting, wants, proved, out    int
	current                        *session.Session
}

func (n *node) knows() knows {
	p, s := n.peer, n.session
	return knows{s.Counter, s.Confirmed, p.Endpoint.String(), p.Source.String(), p.SentBytes.Load(), p.ReceivedBytes.Load(),
		p.Activity.LastReceived.Load(), p.Activity.Owing.Load(), p.Activity.Unanswered.Load(),
		len(p.Waiting), n.wants, n.proved, len(n.inside.Out) + len(n.outside.Out), p.Current}
}

// Each kind of bad message is dropped under its own name; nothing that is known of the
// session or the peer changes, nothing is answered, nothing is allocated; and the
// genuine message that it was made of is accepted afterwards.
func TestBadMessagesAreDroppedByNameChangeNothingAndCostNoMemory(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	const window = 8192 - 64 // how far back the replay window reaches (golang.zx2c4.com/wireguard/replay)
	packet := udp(addrA, addrB, 100, r)
	random := make([]byte, 1400)
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	for name, x := range map[string]struct {
		drop string
		make func(a *node, genuine []byte) []byte
		old  bool // the session has seen a counter far beyond
	}{
		"one byte":                    {drop: "bad_message", make: func(_ *node, m []byte) []byte { return m[:1] }},
		"a header alone":              {drop: "bad_message", make: func(_ *node, m []byte) []byte { return m[:16] }},
		"one byte short of a message": {drop: "bad_message", make: func(_ *node, m []byte) []byte { return m[:31] }},
		"truncated within the packet": {drop: "bad_tag", make: func(_ *node, m []byte) []byte { return m[:len(m)-1] }},
		"truncated to a tag":          {drop: "bad_tag", make: func(_ *node, m []byte) []byte { return m[:32] }},
		"longer by a byte":            {drop: "bad_tag", make: func(_ *node, m []byte) []byte { return append(m, 0) }},
		"forged packet":               {drop: "bad_tag", make: func(_ *node, m []byte) []byte { m[30] ^= 1; return m }},
		"forged tag":                  {drop: "bad_tag", make: func(_ *node, m []byte) []byte { m[len(m)-1] ^= 0x80; return m }},
		"another counter":             {drop: "bad_tag", make: func(_ *node, m []byte) []byte { m[8]++; return m }},
		"wrong index":                 {drop: "bad_index", make: func(_ *node, m []byte) []byte { m[6] ^= 1; return m }},
		"oversized, not genuine":      {drop: "bad_tag", make: func(_ *node, m []byte) []byte { return append(m, make([]byte, 65000-len(m))...) }},
		"a type that there is not":    {drop: "bad_message", make: func(_ *node, m []byte) []byte { m[0] = 5; return m }},
		"reserved bytes used":         {drop: "bad_message", make: func(_ *node, m []byte) []byte { m[2] = 1; return m }},
		"random":                      {drop: "bad_message", make: func(*node, []byte) []byte { return bytes.Clone(random) }},
		"the last counters of all":    {drop: "replayed", make: func(a *node, _ []byte) []byte { return a.sealed(session.RejectAfterMessages, packet) }},
		"older than the window":       {drop: "replayed", old: true, make: func(a *node, _ []byte) []byte { return a.sealed(1, packet) }},
		"at the edge of the window":   {drop: "replayed", old: true, make: func(a *node, _ []byte) []byte { return a.sealed(20000-window-1, packet) }},
		"twice":                       {drop: "replayed", old: true, make: func(a *node, _ []byte) []byte { return a.sealed(20000, packet) }},
	} {
		a, b := pair(t, aead.ChaCha20Poly1305)
		b.peer.Roams = true
		arrive := func(m []byte) {
			b.outside.In = []porttest.Datagram{{Data: m, Peer: wanA}}
			b.poll(t, t0)
		}
		arrive(a.sealed(2, packet)) // the session is in use
		if x.old {
			arrive(a.sealed(20000, packet))
		}
		b.inside.Out = nil
		genuine := a.sealed(20001, packet)
		bad := x.make(a, bytes.Clone(genuine))
		elsewhere := wanB // a forged message must not move the peer
		before, drops := b.knows(), b.dropped(x.drop)
		const times = 21 // one to warm up
		in := make([][]porttest.Datagram, times)
		for i := range in {
			in[i] = []porttest.Datagram{{Data: bytes.Clone(bad), Peer: elsewhere}}
		}
		i := 0
		allocated := testing.AllocsPerRun(times-1, func() { b.outside.In = in[i]; i++; b.Poll(t0) })
		if allocated > 0 {
			t.Errorf("%s: %.1f allocations for one", name, allocated)
		}
		if got := b.dropped(x.drop) - drops; got != times || b.droppedInAll()-drops != times {
			m := map[string]uint64{}
			b.Drops(m)
			t.Errorf("%s: of %d, %d were dropped as %s: %v", name, times, got, x.drop, m)
		}
		if after := b.knows(); after != before {
			t.Errorf("%s changed\n%+v, to\n%+v", name, before, after)
		}
		arrive(genuine)
		if len(b.inside.Packets()) != 1 || b.peer.Where() != wanA {
			t.Errorf("%s: afterwards %d genuine packets arrived, from %v", name, len(b.inside.Packets()), b.peer.Where())
		}
	}
}

// A packet from an address that is not the peer's own is genuine and dropped: the session
// goes on as WireGuard's does, and nobody inside sees it.
func TestAWrongInnerSourceIsDroppedAndTheSessionGoesOn(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	a, b := pair(t, aead.ChaCha20Poly1305)
	stranger := addrB // b itself, whom a must not speak for
	for i, p := range [][]byte{udp(stranger, addrB, 50, r), udp(addrA, addrB, 50, r)} {
		b.outside.In = []porttest.Datagram{{Data: a.sealed(uint64(i), p), Peer: wanA}}
		b.poll(t, t0)
	}
	if b.dropped("bad_source") != 1 || b.droppedInAll() != 1 || len(b.inside.Packets()) != 1 {
		t.Errorf("%d dropped as bad_source, %d in all, %d delivered", b.dropped("bad_source"), b.droppedInAll(), len(b.inside.Packets()))
	}
}

// Genuine messages in any order within the window arrive, each once.
func TestReorderingWithinTheWindowLosesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	a, b := pair(t, aead.ChaCha20Poly1305)
	p := udp(addrA, addrB, 20, r)
	const n = 8000
	for _, i := range r.Perm(n) {
		m := a.sealed(uint64(i), p)
		b.outside.In = append(b.outside.In, porttest.Datagram{Data: m, Peer: wanA}, porttest.Datagram{Data: bytes.Clone(m), Peer: wanA})
	}
	b.poll(t, t0)
	if got := len(b.inside.Packets()); got != n || b.dropped("replayed") != n || b.droppedInAll() != n {
		t.Errorf("of %d messages that came twice, %d were delivered and %d dropped as replayed", n, got, b.dropped("replayed"))
	}
}

// From 2^60 messages on a session goes on sealing and asks for another; either side's.
func TestAnOldCounterAsksForASession(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	a, b := pair(t, aead.ChaCha20Poly1305)
	carry(t, a, b, t0)
	for _, n := range []*node{a, b} {
		n.inside.Out, n.wants = nil, 0
		n.session.Counter = session.RekeyAfterMessages - 1
		src, dst := addrA, addrB
		if n == b {
			src, dst = addrB, addrA
			a.inside.In = []porttest.Packet{{Data: udp(addrA, addrB, 1, r)}} // b may send once it has heard
			carry(t, a, b, t0)
			n.wants = 0
		}
		for i := range 3 {
			n.inside.In = []porttest.Packet{{Data: udp(src, dst, 1, r)}}
			n.outside.Out = nil
			n.poll(t, t0+time.Duration(i)*time.Millisecond)
			if len(n.outside.Out) != 1 {
				t.Errorf("message %d around the limit: %d were sent", i, len(n.outside.Out))
			}
		}
		if n.wants != 1 {
			t.Errorf("%d sessions were asked for", n.wants)
		}
	}
}
