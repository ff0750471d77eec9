package worker

import (
	"encoding/binary"

	"dssn/dataplane/aead"
	"dssn/dataplane/meter"
	"dssn/dataplane/packet"
	"dssn/dataplane/session"
)

// outbound carries a batch from inside to outside.
func (w *Worker) outbound(t *Tables) (busy bool, err error) {
	for range maxReads {
		var n int
		var o packet.Offload
		n, o, err = w.inside.Receive(w.in)
		if n == 0 || err != nil {
			break
		}
		busy = true
		w.enter(t, w.in[:n], o, nil)
		if w.end > outLen/2 {
			break
		}
	}
	w.flush()
	return busy, err
}

// enter takes one inside packet, large or small, through parse, route and
// police, and places what may pass to be sealed: in its frame, if it came in one.
func (w *Worker) enter(t *Tables, p []byte, o packet.Offload, frame *Frame) {
	src, dst, n, ok := packet.Addresses(p)
	if frame != nil && ok { // short frames are padded by the link
		p = p[:n]
	}
	// The kernel leaves the length field of a packet above 64 KB at zero; none
	// is that large here, so a length that differs is a contradiction.
	if !ok || n != len(p) || !w.cut.Plan(p, o) {
		w.drops.add(dropMalformed, 1)
		return
	}
	f := &w.outFlow
	if !f.is(t, src, dst) {
		w.route(t, f, src, dst)
	}
	c := &w.cut
	switch {
	case f.lanes == nil:
		w.drops.add(dropNoPeer, c.Segments)
		return
	case len(f.own) == 0:
		w.drops.add(dropNoLane, c.Segments)
		return
	case f.meter == nil && t.Meters != nil:
		w.drops.add(dropNoMeter, c.Segments)
		return
	}
	peer := f.lane(p)
	if frame != nil && n > t.MTU && t.MTU > 0 { // a TUN keeps to its MTU by itself
		w.tell(p, t.MTU)
		w.drops.add(dropTooBig, 1)
		return
	}
	if path := &peer.Path; path.Fits > 0 && c.Longest() > path.Fits && !w.fit(p, path) {
		w.drops.add(dropTooBig, c.Segments)
		return
	}
	w.clamp(t, &peer.Path, p, o.NeedsChecksum)
	var share *meter.Share
	if f.meter != nil {
		w.mark = f.meter.Mark
		share = f.meter.Share(w.number, peer.Part)
		if share.Fill(w.now, c.Total()) {
			w.holding = append(w.holding, share)
		}
	}
	s := peer.Current
	usable := s != nil && s.Usable(w.now)
	if usable && s.Old(w.now) {
		w.want(peer)
	}
	var sent, policed tally
	for i := range c.Segments {
		n := c.Len(i)
		if share != nil && !share.Take(n) {
			policed.add(n)
			continue
		}
		sent.add(n)
		if !usable {
			w.wait(peer, i)
			continue
		}
		if frame != nil && w.placeFrame(frame, s, n) {
			continue
		}
		c.Write(w.place(s, n), i)
	}
	w.mark = 0
	if share != nil {
		share.Settle()
		k := share.Counter
		k.SentPackets.Add(sent.packets)
		k.SentBytes.Add(sent.bytes)
		if policed.packets > 0 {
			k.PolicedPackets.Add(policed.packets)
			k.PolicedBytes.Add(policed.bytes)
			w.drops.add(dropPoliced, int(policed.packets))
		}
	}
}

// rest gives back the tokens that are left: there is nothing to send now.
func (w *Worker) rest() {
	for i, s := range w.holding {
		s.Return()
		w.holding[i] = nil
	}
	w.holding = w.holding[:0]
}

// place makes room for a packet of n bytes in out, already padded and with its
// header and job written, and returns where the packet goes.
func (w *Worker) place(s *session.Session, n int) []byte {
	return w.placePadded(s, n, w.padded(s, n))
}

// padded is how long a packet of n bytes is when it is sealed: a multiple of 16,
// but no longer than the inside's MTU or what the path is known to carry.
func (w *Worker) padded(s *session.Session, n int) int {
	mtu := w.tables.Load().MTU
	if fits := s.Peer.Path.Fits; fits > 0 {
		mtu = min(mtu, fits)
	}
	padded := (n + 15) &^ 15
	if n <= mtu && padded > mtu {
		padded = mtu
	}
	return padded
}

// placePadded is place with the padding decided.
func (w *Worker) placePadded(s *session.Session, n, padded int) []byte {
	size := session.HeaderLen + padded + tagLen
	if w.end+size > len(w.out) || len(w.seals) == cap(w.seals) {
		w.flush()
	}
	m := w.out[w.end : w.end+size : w.end+size]
	w.prepare(m, s, n, padded)
	w.sealed = append(w.sealed, outgoing{off: w.end, len: size, session: s, data: n > 0, mark: w.mark})
	w.end += size
	return m[session.HeaderLen : session.HeaderLen+n]
}

// tagLen follows what is sealed.
const tagLen = aead.TagSize

// prepare writes what surrounds a packet of n bytes in message m, and notes that
// it is to be sealed.
func (w *Worker) prepare(m []byte, s *session.Session, n, padded int) {
	binary.LittleEndian.PutUint32(m[0:], session.TypeTransport)
	binary.LittleEndian.PutUint32(m[4:], s.Remote)
	binary.LittleEndian.PutUint64(m[8:], s.Counter)
	clear(m[session.HeaderLen+n : session.HeaderLen+padded])
	w.seals = append(w.seals, aead.Job{Key: s.Send, Buf: m[session.HeaderLen:]})
	binary.LittleEndian.PutUint64(w.seals[len(w.seals)-1].Nonce[4:], s.Counter)
	s.Counter++
}

// flush seals and sends what is placed.
func (w *Worker) flush() {
	if len(w.seals) == 0 {
		return
	}
	aead.Seal(w.seals)
	if len(w.sealed) > 0 {
		w.group()
		w.transmit()
	}
	if w.fast != nil {
		w.depart()
	}
	clear(w.seals) // keys must not stay reachable from here
	w.seals, w.sealed, w.end = w.seals[:0], w.sealed[:0], 0
}

// group joins neighbours of one peer, one mark and one size into Datagrams; the last of
// each may be shorter.
func (w *Worker) group() {
	w.sends = w.sends[:0]
	for i := 0; i < len(w.sealed); {
		first := &w.sealed[i]
		p := first.session.Peer
		end, data := first.off+first.len, first.data
		j := i + 1
		for j < len(w.sealed) && j-i < maxSegments {
			next := &w.sealed[j]
			if next.session.Peer != p || next.mark != first.mark || next.len > first.len || end-first.off+next.len > maxDatagrams {
				break
			}
			end += next.len
			data = data || next.data
			j++
			if next.len < first.len {
				break
			}
		}
		switch {
		case !p.Endpoint.IsValid():
			w.drops.add(dropNoEndpoint, j-i)
		default:
			w.sends = append(w.sends, Datagrams{Buf: w.out[first.off:end], Segment: first.len, Peer: p.Endpoint, Local: p.Source, Shared: p.Shared, Mark: first.mark})
			p.Activity.Sent(w.now, data)
			p.SentBytes.Add(uint64(end - first.off))
		}
		i = j
	}
}

// transmit gives sends to the outside port and counts what it did not take.
func (w *Worker) transmit() {
	left := w.sends
	for len(left) > 0 {
		n, err := w.outside.Send(left)
		left = left[n:]
		if err != nil && len(left) > 0 { // the first of the rest is what it refused
			w.drops.add(dropSend, left[0].Count())
			left = left[1:]
		} else if n == 0 {
			break
		}
	}
	for i := range left {
		w.drops.add(dropSend, left[i].Count())
	}
	w.sends = w.sends[:0]
}
