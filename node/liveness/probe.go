package liveness

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/netip"

	"dssn"
)

// ProbePort is the UDP port on which edges answer probes and hear the answers.
const ProbePort = 51822

// ProbeBytes is the size of a probe.
const ProbeBytes = 56

// Probe asks, or answers, whether a path works:
//
//	0        4   5      6      8    10     12         16     24       40    56
//	| "DSPP" | 1 | kind | from | to | path | sequence | sent | return | mac |
//
// in network byte order: kind 1 asks and 2 answers, and 0x80 is added when the
// sender's tunnel with the receiver is open; from and to are the SIDs of
// the two edges as they stand in this packet; path and sent are the asker's and
// come back unchanged; return is the carrier on which the answer shall travel.
// mac is HMAC-SHA256 over what precedes it, cut to 16 bytes, under a key that
// only the two edges have. A probe that somebody repeats makes one answer to
// where its maker wanted it, and the asker knows each sequence number once.
type Probe struct {
	Answer   bool
	Open     bool // the sender would take a tunnel's handshake from the receiver
	From, To dssn.SID
	Path     uint16
	Sequence uint32
	Sent     uint64 // nanoseconds on the asker's clock
	Return   dssn.Carrier
}

// ProbeKey authenticates the probes between two edges. The zero value is not a key.
type ProbeKey [32]byte

// NewProbeKey derives the key from the pair's pre-shared key:
// HMAC-SHA256(psk, "dssn path probe 1").
func NewProbeKey(psk []byte) (k ProbeKey) {
	m := hmac.New(sha256.New, psk)
	m.Write([]byte("dssn path probe 1"))
	m.Sum(k[:0])
	return k
}

// The reasons not to believe a probe.
var (
	ErrProbeShape = errors.New("not a probe")
	ErrProbeMAC   = errors.New("a probe whose authenticator is wrong")
	ErrProbePeer  = errors.New("a probe from nobody we share a key with")
)

const (
	probeAsk    = 1
	probeAnswer = 2
	probeOpen   = 0x80
	probeBody   = 40
)

var probeMagic = [5]byte{'D', 'S', 'P', 'P', 1}

// Append appends the sealed probe to b.
func (p *Probe) Append(b []byte, k *ProbeKey) []byte {
	begin := len(b)
	kind := byte(probeAsk)
	if p.Answer {
		kind = probeAnswer
	}
	if p.Open {
		kind |= probeOpen
	}
	b = append(b, probeMagic[:]...)
	b = append(b, kind)
	b = binary.BigEndian.AppendUint16(b, uint16(p.From))
	b = binary.BigEndian.AppendUint16(b, uint16(p.To))
	b = binary.BigEndian.AppendUint16(b, p.Path)
	b = binary.BigEndian.AppendUint32(b, p.Sequence)
	b = binary.BigEndian.AppendUint64(b, p.Sent)
	var back [16]byte
	if !p.Return.IsZero() {
		back = p.Return.Addr().As16()
	}
	b = append(b, back[:]...)
	return append(b, probeMAC(b[begin:], k)...)
}

func probeMAC(body []byte, k *ProbeKey) []byte {
	m := hmac.New(sha256.New, k[:])
	m.Write(body)
	return m.Sum(nil)[:ProbeBytes-probeBody]
}

// ParseProbe reads and authenticates a probe for the edge self; key finds the
// key shared with the edge that a probe claims to come from. Nothing is
// believed before the authenticator was checked.
func ParseProbe(b []byte, self dssn.SID, key func(dssn.SID) (*ProbeKey, bool)) (Probe, error) {
	if len(b) != ProbeBytes || [5]byte(b[:5]) != probeMagic || b[5]&^probeOpen != probeAsk && b[5]&^probeOpen != probeAnswer {
		return Probe{}, ErrProbeShape
	}
	p := Probe{
		Answer:   b[5]&^probeOpen == probeAnswer,
		Open:     b[5]&probeOpen != 0,
		From:     dssn.SID(binary.BigEndian.Uint16(b[6:])),
		To:       dssn.SID(binary.BigEndian.Uint16(b[8:])),
		Path:     binary.BigEndian.Uint16(b[10:]),
		Sequence: binary.BigEndian.Uint32(b[12:]),
		Sent:     binary.BigEndian.Uint64(b[16:]),
	}
	if p.To != self {
		return Probe{}, ErrProbePeer
	}
	k, ok := key(p.From)
	if !ok {
		return Probe{}, ErrProbePeer
	}
	if !hmac.Equal(probeMAC(b[:probeBody], k), b[probeBody:]) {
		return Probe{}, ErrProbeMAC
	}
	if back := [16]byte(b[24:40]); back != [16]byte{} {
		c, err := dssn.ParseCarrier(netip.AddrFrom16(back).String())
		if err != nil {
			return Probe{}, ErrProbeShape
		}
		p.Return = c
	}
	return p, nil
}

// Reflect returns the answer to p of an edge whose tunnel with the asker is open
// or not.
func (p *Probe) Reflect(open bool) Probe {
	a := *p
	a.Answer, a.Open = true, open
	a.From, a.To = p.To, p.From
	return a
}
