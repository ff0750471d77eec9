package iperf

import (
	"fmt"
	"time"
)

// Params is what the client tells the server about the test, with the names
// that iperf3 gives them on the wire. Zero means the default of the end that
// reads it.
type Params struct {
	TCP           Flag    `json:"tcp,omitempty"`
	UDP           Flag    `json:"udp,omitempty"`
	Omit          Integer `json:"omit"` // seconds left out of the result at the start
	Time          Integer `json:"time"` // seconds; 0 if Num or BlockCount ends the test
	Num           Integer `json:"num"`  // bytes
	BlockCount    Integer `json:"blockcount"`
	MSS           Integer `json:"MSS,omitempty"`
	NoDelay       Flag    `json:"nodelay,omitempty"`
	Parallel      Integer `json:"parallel"`
	Reverse       Flag    `json:"reverse,omitempty"`       // the server sends
	Bidirectional Flag    `json:"bidirectional,omitempty"` // both send, on streams of their own
	Window        Integer `json:"window,omitempty"`        // socket buffer, bytes
	Len           Integer `json:"len"`                     // bytes per block or datagram
	Bandwidth     Integer `json:"bandwidth,omitempty"`     // bits per second per stream; 0 for all there is
	FQRate        Integer `json:"fqrate,omitempty"`        // bits per second, kept by the kernel (SO_MAX_PACING_RATE)
	PacingTimer   Integer `json:"pacing_timer"`            // microseconds
	Burst         Integer `json:"burst,omitempty"`         // blocks
	TOS           Integer `json:"TOS,omitempty"`
	Title         string  `json:"title,omitempty"`
	ExtraData     string  `json:"extra_data,omitempty"`
	Congestion    string  `json:"congestion,omitempty"`
	ServerOutput  Integer `json:"get_server_output,omitempty"`
	Counters64    Integer `json:"udp_counters_64bit,omitempty"`
	ZeroCopy      Flag    `json:"zerocopy,omitempty"` // the sender of a stream uses sendfile
	Repeating     Flag    `json:"repeating_payload,omitempty"`
	DontFragment  Flag    `json:"dont_fragment,omitempty"`
	ClientVersion string  `json:"client_version"`
}

// Limits of a test, and the defaults of a client.
const (
	DefaultPort    = 5201
	DefaultTime    = 10 * time.Second
	DefaultTCPLen  = 128 << 10
	DefaultUDPRate = 1 << 20 // iperf3's 1 Mbit/s, in its binary units
	MaxParallel    = 128
	MaxTCPLen      = 1 << 20
	MinUDPLen      = 16
	MaxUDPLen      = 65507
	MaxTime        = 86400
	MaxWindow      = 512 << 20
	maxOmit        = 600
)

// Validate says in one sentence what is wrong with p, for either end.
func (p *Params) Validate() error {
	switch {
	case p.TCP == p.UDP:
		return fmt.Errorf("a test is either TCP or UDP: choose one")
	case p.Parallel < 1 || p.Parallel > MaxParallel:
		return fmt.Errorf("%d parallel streams are out of range: use 1 to %d", p.Parallel, MaxParallel)
	case p.Time < 0 || p.Time > MaxTime:
		return fmt.Errorf("a test of %d seconds is out of range: use 1 to %d", p.Time, MaxTime)
	case p.Omit < 0 || p.Omit > maxOmit:
		return fmt.Errorf("omitting %d seconds is out of range: use 0 to %d", p.Omit, maxOmit)
	case p.Num < 0 || p.BlockCount < 0:
		return fmt.Errorf("the amount to send cannot be negative")
	case bool(p.TCP) && (p.Len < 1 || p.Len > MaxTCPLen):
		return fmt.Errorf("blocks of %d bytes are out of range for TCP: use 1 to %d", p.Len, MaxTCPLen)
	case bool(p.UDP) && (p.Len < MinUDPLen || p.Len > MaxUDPLen):
		return fmt.Errorf("datagrams of %d bytes are out of range: use %d to %d", p.Len, MinUDPLen, MaxUDPLen)
	case p.Window < 0 || p.Window > MaxWindow:
		return fmt.Errorf("a socket buffer of %d bytes is out of range: use at most %d", p.Window, MaxWindow)
	case p.Bandwidth < 0 || p.FQRate < 0:
		return fmt.Errorf("a bit rate cannot be negative")
	case p.MSS < 0 || p.MSS > 65535:
		return fmt.Errorf("a segment size of %d bytes is out of range: use 1 to 65535", p.MSS)
	case p.TOS < 0 || p.TOS > 255:
		return fmt.Errorf("a type of service of %d is out of range: use 0 to 255", p.TOS)
	case bool(p.Reverse && p.Bidirectional):
		return fmt.Errorf("a test is either reverse or bidirectional: choose one")
	case p.Burst < 0 || p.Burst > 1000:
		return fmt.Errorf("a burst of %d blocks is out of range: use 0 to 1000", p.Burst)
	case len(p.Congestion) > 15:
		return fmt.Errorf("%q is not a congestion control: use a name from net.ipv4.tcp_available_congestion_control", p.Congestion)
	}
	return nil
}

// streamID returns iperf3's number of the n-th stream: 1, 3, 4, 5, …
func streamID(n int) int {
	if n == 0 {
		return 1
	}
	return n + 2
}

// streamCount is how many connections the test opens.
func (p *Params) streamCount() int {
	if p.Bidirectional {
		return 2 * int(p.Parallel)
	}
	return int(p.Parallel)
}

// clientSends says who sends on the n-th stream: in a bidirectional test the
// first half carries the client's data, the second half the server's.
func (p *Params) clientSends(n int) bool {
	if p.Bidirectional {
		return n < int(p.Parallel)
	}
	return !bool(p.Reverse)
}

// Results is what each end tells the other after the test.
type Results struct {
	CPUTotal             float64        `json:"cpu_util_total"` // percent of one CPU
	CPUUser              float64        `json:"cpu_util_user"`
	CPUSystem            float64        `json:"cpu_util_system"`
	SenderHasRetransmits Integer        `json:"sender_has_retransmits"`
	CongestionUsed       string         `json:"congestion_used,omitempty"`
	ServerOutput         string         `json:"server_output_text,omitempty"`
	Streams              []StreamResult `json:"streams"`
}

// StreamResult is one stream as one end saw it.
type StreamResult struct {
	ID             int     `json:"id"`
	Bytes          Integer `json:"bytes"`
	Retransmits    Integer `json:"retransmits"` // -1 if unknown
	Jitter         float64 `json:"jitter"`      // seconds
	Errors         Integer `json:"errors"`      // datagrams lost
	OmittedErrors  Integer `json:"omitted_errors"`
	Packets        Integer `json:"packets"`
	OmittedPackets Integer `json:"omitted_packets"`
	StartTime      float64 `json:"start_time"`
	EndTime        float64 `json:"end_time"` // seconds after StartTime
}
