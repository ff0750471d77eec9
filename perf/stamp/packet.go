package stamp

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"
)

// Lengths of the base packets, in bytes, and the UDP port that IANA assigned.
const (
	BaseBytes          = 44  // unauthenticated, either direction
	AuthenticatedBytes = 112 // authenticated, either direction
	MinProbeBytes      = 14  // sequence, timestamp, error estimate: TWAMP Light's least
	macBytes           = 16  // HMAC-SHA-256, truncated (RFC 8762 §4.4)
	Port               = 862
)

// Unauthenticated layout (RFC 8762 §4.2.1 and §4.3.1, SSID of RFC 8972 §3):
//
//	        session-sender               session-reflector
//	 0      sequence                     sequence (its own if stateful)
//	 4      timestamp                    timestamp of sending back
//	12      error estimate, SSID         error estimate, SSID
//	16      zero                         receive timestamp
//	24      zero                         the sender's sequence
//	28      zero                         the sender's timestamp
//	36      zero                         the sender's error estimate
//	40      zero                         the sender's TTL, then zero
//	44      TLVs                         TLVs
//
// Authenticated packets carry the same fields on 16-byte rows and end, before
// the TLVs, with the HMAC of all bytes before it.

var (
	// ErrShort means that a packet is too short for its kind.
	ErrShort = errors.New("the packet is shorter than a STAMP packet")
	// ErrMAC means that an authenticated packet does not carry the right HMAC.
	ErrMAC = errors.New("the packet's authentication is wrong")
)

// Probe is what a session-sender says.
type Probe struct {
	Sequence uint32
	Sent     time.Time
	Error    ErrorEstimate
	SSID     uint16
}

// Reply is what a session-reflector answers.
type Reply struct {
	Sequence       uint32
	Sent, Received time.Time // by the reflector's clock
	Error          ErrorEstimate
	SSID           uint16
	Probe          Probe // as it was received, without SSID
	TTL            uint8 // with which the probe arrived
}

// ErrorEstimate is what a clock says of itself (RFC 8762 §4.2.1, RFC 4656
// §4.1.2): bit S synchronised, bit Z PTP format, then the error as
// Multiplier × 2^(Scale-32) seconds.
type ErrorEstimate uint16

// NewErrorEstimate states an error bound, rounded up; NTP format.
func NewErrorEstimate(synchronised bool, bound time.Duration) ErrorEstimate {
	e := ErrorEstimate(0)
	if synchronised {
		e = 1 << 15
	}
	// bound in units of 2^-32 s
	units := uint64(max(bound, 1)) * (1 << 32) / uint64(time.Second)
	if bound > 4*time.Second {
		units = uint64(bound/time.Second+1) << 32
	}
	scale := 0
	units = max(units, 1)
	for units > 255 {
		units = (units + 1) / 2
		scale++
	}
	return e | ErrorEstimate(scale<<8) | ErrorEstimate(units)
}

// Synchronised reports whether the clock claims an external source.
func (e ErrorEstimate) Synchronised() bool { return e&(1<<15) != 0 }

// PTP reports whether timestamps are in the truncated PTPv2 format.
func (e ErrorEstimate) PTP() bool { return e&(1<<14) != 0 }

// Bound returns the error that the clock admits, saturated at an hour.
func (e ErrorEstimate) Bound() time.Duration {
	m, scale := uint64(e&0xff), int(e>>8&0x3f)
	if scale > 40 {
		return time.Hour
	}
	return min(time.Hour, time.Duration(float64(m)*float64(uint64(1)<<scale)/(1<<32)*float64(time.Second)))
}

// ntpEpoch is 1 January 1900 in Unix seconds; era 1 begins in 2036.
const ntpEpoch = -2208988800

// putTime writes t in NTP format (RFC 5905 §6): seconds and 2^-32 fractions.
func putTime(b []byte, t time.Time) {
	if t.IsZero() {
		clear(b[:8])
		return
	}
	binary.BigEndian.PutUint32(b, uint32(t.Unix()-ntpEpoch))
	// Rounded up, so that reading it back rounds down to the same nanosecond.
	binary.BigEndian.PutUint32(b[4:], uint32((uint64(t.Nanosecond())<<32+uint64(time.Second)-1)/uint64(time.Second)))
}

// getTime reads a timestamp near now, which settles the era; zero stays zero.
func getTime(b []byte, ptp bool, now time.Time) time.Time {
	s, f := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if s == 0 && f == 0 {
		return time.Time{}
	}
	nanos, epoch := int64(f), int64(0) // truncated PTPv2: seconds and nanoseconds
	if !ptp {
		nanos, epoch = int64(uint64(f)*uint64(time.Second)>>32), ntpEpoch
	}
	unix := int64(s) + epoch
	for now.Unix()-unix > 1<<31 {
		unix += 1 << 32
	}
	return time.Unix(unix, nanos)
}

// AppendProbe appends the packet of p; key nil means unauthenticated.
func AppendProbe(b []byte, p Probe, key []byte) []byte {
	if key == nil {
		b, w := grow(b, BaseBytes)
		binary.BigEndian.PutUint32(w, p.Sequence)
		putTime(w[4:], p.Sent)
		binary.BigEndian.PutUint16(w[12:], uint16(p.Error))
		binary.BigEndian.PutUint16(w[14:], p.SSID)
		return b
	}
	b, w := grow(b, AuthenticatedBytes)
	binary.BigEndian.PutUint32(w, p.Sequence)
	putTime(w[16:], p.Sent)
	binary.BigEndian.PutUint16(w[24:], uint16(p.Error))
	binary.BigEndian.PutUint16(w[26:], p.SSID)
	seal(w, key)
	return b
}

// ParseProbe reads a probe that arrived at now. Unauthenticated probes may be
// as short as MinProbeBytes.
func ParseProbe(b []byte, key []byte, now time.Time) (p Probe, err error) {
	if key == nil {
		if len(b) < MinProbeBytes {
			return p, ErrShort
		}
		p.Sequence = binary.BigEndian.Uint32(b)
		p.Error = ErrorEstimate(binary.BigEndian.Uint16(b[12:]))
		p.Sent = getTime(b[4:], p.Error.PTP(), now)
		if len(b) >= 16 {
			p.SSID = binary.BigEndian.Uint16(b[14:])
		}
		return p, nil
	}
	if len(b) < AuthenticatedBytes {
		return p, ErrShort
	}
	if !sealed(b[:AuthenticatedBytes], key) {
		return p, ErrMAC
	}
	p.Sequence = binary.BigEndian.Uint32(b)
	p.Error = ErrorEstimate(binary.BigEndian.Uint16(b[24:]))
	p.Sent = getTime(b[16:], p.Error.PTP(), now)
	p.SSID = binary.BigEndian.Uint16(b[26:])
	return p, nil
}

// AppendReply appends the packet of r.
func AppendReply(b []byte, r Reply, key []byte) []byte {
	if key == nil {
		b, w := grow(b, BaseBytes)
		binary.BigEndian.PutUint32(w, r.Sequence)
		putTime(w[4:], r.Sent)
		binary.BigEndian.PutUint16(w[12:], uint16(r.Error))
		binary.BigEndian.PutUint16(w[14:], r.SSID)
		putTime(w[16:], r.Received)
		binary.BigEndian.PutUint32(w[24:], r.Probe.Sequence)
		putTime(w[28:], r.Probe.Sent)
		binary.BigEndian.PutUint16(w[36:], uint16(r.Probe.Error))
		w[40] = r.TTL
		return b
	}
	b, w := grow(b, AuthenticatedBytes)
	binary.BigEndian.PutUint32(w, r.Sequence)
	putTime(w[16:], r.Sent)
	binary.BigEndian.PutUint16(w[24:], uint16(r.Error))
	binary.BigEndian.PutUint16(w[26:], r.SSID)
	putTime(w[32:], r.Received)
	binary.BigEndian.PutUint32(w[48:], r.Probe.Sequence)
	putTime(w[64:], r.Probe.Sent)
	binary.BigEndian.PutUint16(w[72:], uint16(r.Probe.Error))
	w[80] = r.TTL
	seal(w, key)
	return b
}

// ParseReply reads a reply that arrived at now.
func ParseReply(b []byte, key []byte, now time.Time) (r Reply, err error) {
	o := [...]int{4, 12, 14, 16, 24, 28, 36, 40}
	if key != nil {
		o = [...]int{16, 24, 26, 32, 48, 64, 72, 80}
		if len(b) < AuthenticatedBytes {
			return r, ErrShort
		}
		if !sealed(b[:AuthenticatedBytes], key) {
			return r, ErrMAC
		}
	} else if len(b) < BaseBytes {
		return r, ErrShort
	}
	r.Sequence = binary.BigEndian.Uint32(b)
	r.Error = ErrorEstimate(binary.BigEndian.Uint16(b[o[1]:]))
	r.Sent = getTime(b[o[0]:], r.Error.PTP(), now)
	r.SSID = binary.BigEndian.Uint16(b[o[2]:])
	r.Received = getTime(b[o[3]:], r.Error.PTP(), now)
	r.Probe.Sequence = binary.BigEndian.Uint32(b[o[4]:])
	r.Probe.Error = ErrorEstimate(binary.BigEndian.Uint16(b[o[6]:]))
	r.Probe.Sent = getTime(b[o[5]:], r.Probe.Error.PTP(), now)
	r.TTL = b[o[7]]
	return r, nil
}

func grow(b []byte, n int) (all, part []byte) {
	all = append(b, make([]byte, n)...)
	return all, all[len(b):]
}

func mac(b, key []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(b)
	return h.Sum(nil)[:macBytes]
}

func seal(w, key []byte) { copy(w[len(w)-macBytes:], mac(w[:len(w)-macBytes], key)) }

func sealed(w, key []byte) bool {
	n := len(w) - macBytes
	return hmac.Equal(w[n:], mac(w[:n], key))
}
