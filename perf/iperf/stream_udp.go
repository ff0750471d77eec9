package iperf

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// sendUDP hands the kernel up to maxBurst bytes at a time and lets it (or the
// NIC) cut them into datagrams (UDP_SEGMENT). Where that is refused, one
// datagram goes per call.
func (s *stream) sendUDP() error {
	size := int(s.params.Len)
	wide := s.params.Counters64 != 0
	pacer := Pacer{Rate: uint64(s.params.Bandwidth)}
	batch := 1
	if s.segments(size) {
		batch = min(max(1, pacer.burstBytes(size)/size), maxSegments, maxBurst/size)
	}
	if b := int(s.params.Burst); b > 0 {
		batch = min(batch, b)
	}
	buf := make([]byte, batch*size)
	for i := range buf {
		buf[i] = byte('0' + i%10)
	}
	number := uint64(0)
	pacer.Start(time.Now())
	for !s.stop.Load() {
		if !s.pause(&pacer, len(buf)) {
			return nil
		}
		granted := s.limit.take(len(buf))
		if granted == 0 {
			return nil
		}
		part := buf[:(granted+size-1)/size*size]
		now := time.Now()
		for i := 0; i < len(part); i += size {
			number++
			putDatagramHeader(part[i:], now, number, wide)
		}
		n, err := ignoringInterrupts(func() (int, error) { return unix.Write(s.fd, part) })
		switch {
		case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.EAGAIN):
			number -= uint64(len(part) / size) // nothing went out
			continue
		case errors.Is(err, unix.ECONNREFUSED) && s.stop.Load():
			return nil
		case len(part) > size && (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EIO) || errors.Is(err, unix.EMSGSIZE)):
			// This path cannot segment after all.
			number -= uint64(len(part) / size)
			unix.SetsockoptInt(s.fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 0)
			buf = buf[:size]
			continue
		case err != nil:
			return s.unlessStopped("send", err)
		}
		pacer.Sent(n)
		s.bytes.Add(uint64(n))
		s.mu.Lock()
		s.seq.Packets = number
		s.mu.Unlock()
	}
	return nil
}

// segments asks the kernel to cut what is sent into datagrams of size bytes. A
// datagram larger than the path's packets is left to IP fragmentation.
func (s *stream) segments(size int) bool {
	const headers = 48 // IPv6 and UDP
	level, option := unix.IPPROTO_IP, unix.IP_MTU
	if sa, err := unix.Getsockname(s.fd); err == nil {
		if _, six := sa.(*unix.SockaddrInet6); six {
			level, option = unix.IPPROTO_IPV6, unix.IPV6_MTU
		}
	}
	mtu, err := unix.GetsockoptInt(s.fd, level, option)
	if err != nil || size+headers > mtu || 2*size > maxBurst {
		return false
	}
	return unix.SetsockoptInt(s.fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT, size) == nil
}

// receiveUDP takes many datagrams a call: several messages (recvmmsg), each of
// which may hold a run of equal datagrams (UDP_GRO).
func (s *stream) receiveUDP() error {
	unix.SetsockoptInt(s.fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000})
	wide := s.params.Counters64 != 0
	in := newInbox()
	var stopped time.Time
	for {
		n, err := ignoringInterrupts(func() (int, error) { return in.receive(s.fd) })
		switch {
		case errors.Is(err, unix.EAGAIN):
			if s.stop.Load() {
				return nil
			}
			continue
		case errors.Is(err, unix.ECONNREFUSED): // an ICMP error of an earlier send
			continue
		case err != nil:
			return s.unlessStopped("receive", err)
		}
		now := time.Now()
		s.mu.Lock()
		for i := range n {
			run, size := in.message(i)
			for len(run) > 0 {
				d := run[:min(size, len(run))]
				run = run[len(d):]
				if s.seq.Arrive(d, now, wide) {
					s.bytes.Add(uint64(len(d)))
				}
			}
		}
		s.mu.Unlock()
		if s.enough(&stopped) {
			return nil
		}
	}
}
