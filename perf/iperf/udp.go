package iperf

import (
	"encoding/binary"
	"time"
)

// A test datagram begins with the sender's clock and the datagram's number:
//
//	0       4       8       12      16
//	| sec   | usec  | number        |    number is 4 bytes, or 8 with udp_counters_64bit
//
// all big-endian; the number begins at 1. The rest is filler.

// udpHello opens a stream and udpReply answers it; both travel little-endian.
const (
	udpHello       = 0x36373839
	udpReply       = 0x39383736
	udpReplyLegacy = 987654321 // servers before 3.10
)

func putDatagramHeader(b []byte, now time.Time, number uint64, wide bool) {
	us := now.UnixMicro()
	binary.BigEndian.PutUint32(b, uint32(us/1e6))
	binary.BigEndian.PutUint32(b[4:], uint32(us%1e6))
	if wide {
		binary.BigEndian.PutUint64(b[8:], number)
	} else {
		binary.BigEndian.PutUint32(b[8:], uint32(number))
	}
}

// Sequence accounts for the datagrams of one stream as they arrive: loss,
// reordering and jitter (RFC 3550 §6.4.1). The zero value is ready.
type Sequence struct {
	Packets    uint64 // highest number seen
	Lost       int64  // gaps, less the datagrams that arrived late after all
	OutOfOrder uint64
	Jitter     float64 // seconds

	transit int64 // microseconds, of the datagram before
	began   bool
}

// Arrive takes one datagram of at least MinUDPLen bytes that came at now. It
// reports whether the datagram was well formed.
func (s *Sequence) Arrive(b []byte, now time.Time, wide bool) bool {
	if len(b) < MinUDPLen {
		return false
	}
	sent := int64(binary.BigEndian.Uint32(b))*1e6 + int64(binary.BigEndian.Uint32(b[4:]))
	var number uint64
	if wide {
		number = binary.BigEndian.Uint64(b[8:])
	} else {
		// The 32-bit number of an old sender goes on past its end.
		number = s.Packets&^0xffffffff | uint64(binary.BigEndian.Uint32(b[8:]))
		if int64(number-s.Packets) < -1<<31 {
			number += 1 << 32
		} else if int64(number-s.Packets) > 1<<31 && number >= 1<<32 {
			number -= 1 << 32
		}
	}
	switch {
	case number > s.Packets:
		s.Lost += int64(number - s.Packets - 1)
		s.Packets = number
	default:
		s.OutOfOrder++
		if s.Lost > 0 {
			s.Lost--
		}
	}
	transit := now.UnixMicro() - sent
	if s.began {
		d := transit - s.transit
		if d < 0 {
			d = -d
		}
		s.Jitter += (float64(d)/1e6 - s.Jitter) / 16
	}
	s.transit, s.began = transit, true
	return true
}

// Pacer says how much may be sent by a time at a rate. The zero rate has no limit.
type Pacer struct {
	Rate  uint64 // bits per second
	start time.Time
	sent  uint64 // bytes
}

// Start begins pacing at now.
func (p *Pacer) Start(now time.Time) { p.start, p.sent = now, 0 }

// Wait returns how long to wait at now before n more bytes may go.
func (p *Pacer) Wait(now time.Time, n int) time.Duration {
	if p.Rate == 0 {
		return 0
	}
	due := time.Duration(float64(p.sent) * 8e9 / float64(p.Rate))
	return due - now.Sub(p.start)
}

// Sent takes note of n bytes.
func (p *Pacer) Sent(n int) { p.sent += uint64(n) }

// burstBytes is how much a paced sender hands to the kernel at a time: what the
// rate carries in 200 µs, at least one block and at most one GSO segment.
func (p *Pacer) burstBytes(block int) int {
	if p.Rate == 0 {
		return maxBurst
	}
	return min(max(block, int(p.Rate/8/5000)), maxBurst)
}

const maxBurst = 65000
