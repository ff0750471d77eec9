package iperf

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// test is one run at one end: its streams, its clock and its progress. Client
// and Server drive it.
type test struct {
	params     Params
	streams    []*stream
	client     bool // this end is the client
	interval   time.Duration
	onInterval func(ReportInterval)

	start          time.Time // of what counts: the end of the omitted time
	omitting       bool
	cpu0           [2]time.Duration
	wall0          time.Time
	cpu            [3]float64 // total, user, system: percent of one CPU
	cpuSeconds     float64
	receiveErrors0 uint64
	receiveErrors  uint64
	intervals      []ReportInterval
	before         []counters // at the beginning of the running interval
	beforeAt       time.Time
}

// begin starts every stream at now.
func (t *test) begin(now time.Time) {
	t.start, t.beforeAt, t.wall0 = now, now, now
	t.cpu0[0], t.cpu0[1] = cpuTime()
	t.receiveErrors0 = udpReceiveErrors()
	t.omitting = t.params.Omit > 0
	t.before = make([]counters, len(t.streams))
	for _, s := range t.streams {
		s.start(now)
	}
}

// progress closes an interval now and then until ctx or finished is done, or
// until the client's time or amount is used up; it returns nil in the last case.
func (t *test) progress(ctx context.Context, finished <-chan error) error {
	tick := time.NewTicker(t.interval)
	defer tick.Stop()
	var omitEnd, timeEnd <-chan time.Time
	if t.omitting {
		omitEnd = time.After(time.Duration(t.params.Omit) * time.Second)
	}
	if t.client && t.params.Time > 0 && t.params.Num == 0 && t.params.BlockCount == 0 {
		timeEnd = time.After(time.Duration(t.params.Omit+t.params.Time) * time.Second)
	}
	amount := time.NewTicker(2 * time.Millisecond)
	defer amount.Stop()
	if !t.client || t.params.Num == 0 && t.params.BlockCount == 0 {
		amount.Stop()
	}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-finished:
			return err
		case <-timeEnd:
			return nil
		case <-amount.C:
			if t.amountReached() {
				return nil
			}
		case <-omitEnd:
			t.closeInterval(time.Now())
			t.endOmitted(time.Now())
			tick.Reset(t.interval)
		case now := <-tick.C:
			t.closeInterval(now)
		}
	}
}

func (t *test) amountReached() bool {
	want := uint64(t.params.Num)
	if t.params.BlockCount > 0 {
		want = uint64(t.params.BlockCount) * uint64(t.params.Len)
	}
	var sent, received uint64
	for _, s := range t.streams {
		if n := s.bytes.Load() - s.omitted.bytes; s.sends {
			sent += n
		} else {
			received += n
		}
	}
	return sent >= want || received >= want
}

func (t *test) endOmitted(now time.Time) {
	for i, s := range t.streams {
		s.omitted = s.snapshot()
		t.before[i] = s.omitted
		s.mu.Lock()
		s.began = now
		s.mu.Unlock()
	}
	t.start, t.beforeAt, t.omitting = now, now, false
	t.wall0 = now
	t.cpu0[0], t.cpu0[1] = cpuTime()
}

// closeInterval reports what happened since the last one.
func (t *test) closeInterval(now time.Time) {
	if now.Sub(t.beforeAt) < time.Millisecond {
		return
	}
	from, to := t.beforeAt.Sub(t.start).Seconds(), now.Sub(t.start).Seconds()
	r := ReportInterval{}
	var forward, reverse []Sum
	for i, s := range t.streams {
		c := s.snapshot()
		sum := newSum(s.id, from, to, c.bytes-t.before[i].bytes, s.sends)
		sum.Omitted = t.omitting
		switch {
		case s.udp && s.sends:
			n := c.seq.Packets - t.before[i].seq.Packets
			sum.Packets = &n
		case s.udp:
			sum.addLoss(c.seq.Lost-t.before[i].seq.Lost, c.seq.Packets-t.before[i].seq.Packets, c.seq.Jitter)
		case s.sends:
			n := int64(c.retransmits) - int64(t.before[i].retransmits)
			sum.Retransmits = &n
			if info, err := unix.GetsockoptTCPInfo(s.fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
				cwnd := uint64(info.Snd_cwnd) * uint64(info.Snd_mss)
				sum.SndCwnd, sum.RTT, sum.RTTVar, sum.PMTU = &cwnd, &info.Rtt, &info.Rttvar, &info.Pmtu
			}
		}
		t.before[i] = c
		r.Streams = append(r.Streams, sum)
		if bool(t.params.Bidirectional) && s.sends != t.client {
			reverse = append(reverse, sum)
		} else {
			forward = append(forward, sum)
		}
	}
	r.Sum = total(forward, forward[0].Sender)
	if len(reverse) > 0 {
		sum := total(reverse, reverse[0].Sender)
		r.SumReverse = &sum
	}
	t.beforeAt = now
	t.intervals = append(t.intervals, r)
	if t.onInterval != nil {
		t.onInterval(r)
	}
}

// halt stops the streams and settles their times and this end's processor use.
// Senders stop first, so that what they sent can still arrive.
func (t *test) halt() error {
	var first error
	for _, sending := range []bool{true, false} {
		for _, s := range t.streams {
			if s.sends == sending {
				s.halt()
				if first == nil {
					first = s.err
				}
			}
		}
	}
	now := time.Now()
	if len(t.intervals) == 0 || now.Sub(t.beforeAt) > t.interval/10 {
		t.closeInterval(now)
	}
	user, system := cpuTime()
	user, system = user-t.cpu0[0], system-t.cpu0[1]
	if wall := now.Sub(t.wall0).Seconds(); wall > 0 {
		t.cpu = [3]float64{100 * (user + system).Seconds() / wall, 100 * user.Seconds() / wall, 100 * system.Seconds() / wall}
	}
	t.cpuSeconds = (user + system).Seconds()
	t.receiveErrors = udpReceiveErrors() - t.receiveErrors0
	return first
}

func (t *test) close() {
	for _, s := range t.streams {
		s.close()
	}
}

// results is what this end tells the other.
func (t *test) results() Results {
	r := Results{CPUTotal: t.cpu[0], CPUUser: t.cpu[1], CPUSystem: t.cpu[2], SenderHasRetransmits: -1}
	for _, s := range t.streams {
		c := s.snapshot()
		sr := StreamResult{ID: s.id, Bytes: Integer(c.bytes - s.omitted.bytes), Retransmits: -1,
			EndTime: s.seconds()}
		switch {
		case s.udp:
			sr.Packets = Integer(c.seq.Packets)
			sr.OmittedPackets = Integer(s.omitted.seq.Packets)
			sr.Errors = Integer(c.seq.Lost)
			sr.OmittedErrors = Integer(s.omitted.seq.Lost)
			sr.Jitter = c.seq.Jitter
		case s.sends:
			sr.Retransmits = Integer(c.retransmits - s.omitted.retransmits)
		}
		if s.sends && !s.udp {
			r.SenderHasRetransmits = 1
		}
		if !s.udp && r.CongestionUsed == "" {
			r.CongestionUsed = congestionOf(s.fd)
		}
		r.Streams = append(r.Streams, sr)
	}
	return r
}

func (s *stream) seconds() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended.IsZero() {
		return time.Since(s.began).Seconds()
	}
	return s.ended.Sub(s.began).Seconds()
}

// report puts this end's results and the other's together.
func (t *test) report(start ReportStart, own Results, other Results, withCost bool) *Report {
	r := &Report{Start: start, Intervals: t.intervals, ServerOutput: other.ServerOutput}
	byID := map[int]StreamResult{}
	for _, s := range other.Streams {
		byID[s.ID] = s
	}
	var sent, received [2][]Sum // [0] client to server, [1] server to client
	var udp []Sum
	for i, s := range t.streams {
		mine, theirs := own.Streams[i], byID[s.id]
		tx, rx := mine, theirs
		if !s.sends {
			tx, rx = theirs, mine
		}
		txSum := newSum(s.id, 0, tx.EndTime, uint64(max(tx.Bytes, 0)), s.sends)
		rxSum := newSum(s.id, 0, rx.EndTime, uint64(max(rx.Bytes, 0)), s.sends)
		e := EndStream{Sender: &txSum, Receiver: &rxSum}
		if s.udp {
			packets := uint64(max(tx.Packets-tx.OmittedPackets, 0))
			txSum.Packets = &packets
			rxSum.addLoss(int64(rx.Errors-rx.OmittedErrors), uint64(max(rx.Packets-rx.OmittedPackets, 0)), rx.Jitter)
			u := txSum
			u.addLoss(int64(rx.Errors-rx.OmittedErrors), packets, rx.Jitter)
			if !s.sends {
				order := s.snapshot().seq.OutOfOrder
				u.OutOfOrder = &order
			}
			udp = append(udp, u)
			e = EndStream{UDP: &u}
		} else if n := int64(tx.Retransmits); n >= 0 {
			txSum.Retransmits = &n
		}
		r.End.Streams = append(r.End.Streams, e)
		direction := 0
		if s.sends != t.client {
			direction = 1
		}
		sent[direction] = append(sent[direction], txSum)
		received[direction] = append(received[direction], rxSum)
	}
	main := 0
	if len(sent[0]) == 0 {
		main = 1
	}
	clientSends := main == 0
	r.End.SumSent = total(sent[main], clientSends == t.client)
	r.End.SumReceived = total(received[main], clientSends == t.client)
	if t.params.Bidirectional {
		s, v := total(sent[1], !t.client), total(received[1], !t.client)
		r.End.SumSentReverse, r.End.SumReceivedReverse = &s, &v
	}
	if len(udp) > 0 {
		s := total(udp, r.End.SumSent.Sender)
		r.End.Sum = &s
	}
	r.End.CPU = CPU{own.CPUTotal, own.CPUUser, own.CPUSystem, other.CPUTotal, other.CPUUser, other.CPUSystem}
	r.End.SenderCongestion, r.End.ReceiverCongestion = own.CongestionUsed, other.CongestionUsed
	if clientSends != t.client {
		r.End.SenderCongestion, r.End.ReceiverCongestion = other.CongestionUsed, own.CongestionUsed
	}
	r.End.TesterDroppedInside = t.receiveErrors
	if withCost {
		bytes := r.End.SumReceived.Bytes
		if r.End.SumReceivedReverse != nil {
			bytes += r.End.SumReceivedReverse.Bytes
		}
		if bytes > 0 {
			gb := float64(bytes) / 1e9
			c := Cost{Host: t.cpuSeconds / gb, Remote: other.CPUTotal / 100 * r.End.SumReceived.Seconds / gb}
			c.Both = c.Host + c.Remote
			r.End.CPUSecondsPerGB = &c
		}
	}
	return r
}

// text is what --get-server-output brings to the client: one line for each
// interval and stream.
func (t *test) text() string {
	var b strings.Builder
	for _, i := range t.intervals {
		for _, s := range i.Streams {
			fmt.Fprintf(&b, "[%3d] %6.2f-%-6.2f sec  %d bytes  %.0f bits/sec", s.Socket, s.Start, s.End, s.Bytes, s.BitsPerSecond)
			if s.LostPackets != nil && s.Packets != nil {
				fmt.Fprintf(&b, "  %d/%d lost", *s.LostPackets, *s.Packets)
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// describe fills in what is known before the test runs.
func (t *test) describe(cookie string, at time.Time) ReportStart {
	p := &t.params
	s := ReportStart{Version: Version, SystemInfo: systemInfo(), Cookie: cookie, TargetRate: uint64(p.Bandwidth),
		Timestamp: Timestamp{at.UTC().Format(time.RFC1123), at.Unix()},
		TestStart: TestStart{Protocol: "TCP", NumStreams: int(p.Parallel), BlkSize: int(p.Len), Omit: int(p.Omit), Duration: int(p.Time),
			Bytes: int64(p.Num), Blocks: int64(p.BlockCount), TOS: int(p.TOS), TargetRate: uint64(p.Bandwidth)}}
	if p.UDP {
		s.TestStart.Protocol = "UDP"
	}
	if p.Reverse {
		s.TestStart.Reverse = 1
	}
	if p.Bidirectional {
		s.TestStart.Bidir = 1
	}
	for _, st := range t.streams {
		local, _ := netip.ParseAddrPort(st.local)
		remote, _ := netip.ParseAddrPort(st.remote)
		s.Connected = append(s.Connected, Connected{st.id, local.Addr().Unmap().String(), local.Port(), remote.Addr().Unmap().String(), remote.Port()})
		s.TCPMSS = max(s.TCPMSS, st.mss)
	}
	return s
}

// Version is how this program names itself in the protocol.
const Version = "dssn iperf (protocol of iperf 3.12)"

func systemInfo() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return strings.Join([]string{unix.ByteSliceToString(u.Sysname[:]), unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Machine[:])}, " ")
}

// udpReceiveErrors counts the datagrams that this network namespace's sockets
// had no room for, since it was made.
func udpReceiveErrors() uint64 {
	var n uint64
	for _, file := range []string{"/proc/thread-self/net/snmp", "/proc/thread-self/net/snmp6"} {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		var names []string
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			switch {
			case len(f) == 2 && f[0] == "Udp6RcvbufErrors":
				v, _ := strconv.ParseUint(f[1], 10, 64)
				n += v
			case len(f) > 1 && f[0] == "Udp:" && names == nil:
				names = f
			case len(f) > 1 && f[0] == "Udp:":
				for i := range f {
					if i < len(names) && names[i] == "RcvbufErrors" {
						v, _ := strconv.ParseUint(f[i], 10, 64)
						n += v
					}
				}
			}
		}
	}
	return n
}
