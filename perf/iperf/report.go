package iperf

// Report is a finished test in the shape of iperf3's --json. Times are seconds,
// rates bits per second, sizes bytes.
type Report struct {
	Start     ReportStart      `json:"start"`
	Intervals []ReportInterval `json:"intervals"`
	End       ReportEnd        `json:"end"`
	Error     string           `json:"error,omitempty"`
	// ServerOutput is what the server printed, if that was asked for.
	ServerOutput string `json:"server_output_text,omitempty"`
}

// ReportStart says what was tested and between whom.
type ReportStart struct {
	Connected    []Connected `json:"connected"`
	Version      string      `json:"version"`
	SystemInfo   string      `json:"system_info"`
	Timestamp    Timestamp   `json:"timestamp"`
	ConnectingTo *HostPort   `json:"connecting_to,omitempty"`
	AcceptedFrom *HostPort   `json:"accepted_connection,omitempty"`
	Cookie       string      `json:"cookie"`
	TCPMSS       int         `json:"tcp_mss_default,omitempty"`
	TargetRate   uint64      `json:"target_bitrate"`
	TestStart    TestStart   `json:"test_start"`
}

// Connected is one data connection.
type Connected struct {
	Socket     int    `json:"socket"`
	LocalHost  string `json:"local_host"`
	LocalPort  uint16 `json:"local_port"`
	RemoteHost string `json:"remote_host"`
	RemotePort uint16 `json:"remote_port"`
}

// HostPort is where a control connection goes to or came from.
type HostPort struct {
	Host string `json:"host"`
	Port uint16 `json:"port"`
}

// Timestamp is when a test began.
type Timestamp struct {
	Time string `json:"time"`
	Secs int64  `json:"timesecs"`
}

// TestStart repeats the parameters.
type TestStart struct {
	Protocol   string `json:"protocol"`
	NumStreams int    `json:"num_streams"`
	BlkSize    int    `json:"blksize"`
	Omit       int    `json:"omit"`
	Duration   int    `json:"duration"`
	Bytes      int64  `json:"bytes"`
	Blocks     int64  `json:"blocks"`
	Reverse    int    `json:"reverse"`
	TOS        int    `json:"tos"`
	TargetRate uint64 `json:"target_bitrate"`
	Bidir      int    `json:"bidir"`
}

// Sum is one stream, or all of one direction, over a stretch of time. Fields
// that the protocol or the side does not know are absent.
type Sum struct {
	Socket        int      `json:"socket,omitempty"`
	Start         float64  `json:"start"`
	End           float64  `json:"end"`
	Seconds       float64  `json:"seconds"`
	Bytes         uint64   `json:"bytes"`
	BitsPerSecond float64  `json:"bits_per_second"`
	Retransmits   *int64   `json:"retransmits,omitempty"`
	SndCwnd       *uint64  `json:"snd_cwnd,omitempty"`
	RTT           *uint32  `json:"rtt,omitempty"` // microseconds
	RTTVar        *uint32  `json:"rttvar,omitempty"`
	PMTU          *uint32  `json:"pmtu,omitempty"`
	JitterMillis  *float64 `json:"jitter_ms,omitempty"`
	LostPackets   *int64   `json:"lost_packets,omitempty"`
	Packets       *uint64  `json:"packets,omitempty"`
	LostPercent   *float64 `json:"lost_percent,omitempty"`
	OutOfOrder    *uint64  `json:"out_of_order,omitempty"`
	Omitted       bool     `json:"omitted,omitempty"`
	Sender        bool     `json:"sender"`
}

// ReportInterval is one line of progress.
type ReportInterval struct {
	Streams    []Sum `json:"streams"`
	Sum        Sum   `json:"sum"`
	SumReverse *Sum  `json:"sum_bidir_reverse,omitempty"`
}

// ReportEnd is the result.
type ReportEnd struct {
	Streams []EndStream `json:"streams"`
	// Sum is present for UDP, as in iperf3.
	Sum                 *Sum   `json:"sum,omitempty"`
	SumSent             Sum    `json:"sum_sent"`
	SumReceived         Sum    `json:"sum_received"`
	SumSentReverse      *Sum   `json:"sum_sent_bidir_reverse,omitempty"`
	SumReceivedReverse  *Sum   `json:"sum_received_bidir_reverse,omitempty"`
	CPU                 CPU    `json:"cpu_utilization_percent"`
	SenderCongestion    string `json:"sender_tcp_congestion,omitempty"`
	ReceiverCongestion  string `json:"receiver_tcp_congestion,omitempty"`
	CPUSecondsPerGB     *Cost  `json:"cpu_seconds_per_gb,omitempty"`
	TesterDroppedInside uint64 `json:"tester_receive_errors"` // datagrams this host's own socket buffers refused
}

// EndStream is one stream's result at both ends.
type EndStream struct {
	Sender   *Sum `json:"sender,omitempty"`
	Receiver *Sum `json:"receiver,omitempty"`
	UDP      *Sum `json:"udp,omitempty"`
}

// CPU is what the test cost, in percent of one CPU.
type CPU struct {
	HostTotal    float64 `json:"host_total"`
	HostUser     float64 `json:"host_user"`
	HostSystem   float64 `json:"host_system"`
	RemoteTotal  float64 `json:"remote_total"`
	RemoteUser   float64 `json:"remote_user"`
	RemoteSystem float64 `json:"remote_system"`
}

// Cost is processor time per 10⁹ bytes received, of the test programs at each end.
type Cost struct {
	Host   float64 `json:"host"`
	Remote float64 `json:"remote"`
	Both   float64 `json:"both"`
}

func newSum(socket int, start, end float64, bytes uint64, sender bool) Sum {
	s := Sum{Socket: socket, Start: start, End: end, Seconds: end - start, Bytes: bytes, Sender: sender}
	if s.Seconds > 0 {
		s.BitsPerSecond = float64(bytes) * 8 / s.Seconds
	}
	return s
}

func (s *Sum) addLoss(lost int64, packets uint64, jitter float64) {
	percent := 0.0
	if packets > 0 {
		percent = 100 * float64(lost) / float64(packets)
	}
	ms := jitter * 1000
	s.LostPackets, s.Packets, s.JitterMillis, s.LostPercent = &lost, &packets, &ms, &percent
}

// total adds up streams of one direction over the same stretch of time.
func total(parts []Sum, sender bool) Sum {
	if len(parts) == 0 {
		return Sum{Sender: sender}
	}
	sum := Sum{Start: parts[0].Start, End: parts[0].End, Sender: sender, Omitted: parts[0].Omitted}
	var lost, retransmits int64
	var packets uint64
	var jitter float64
	haveLoss, haveRetransmits, havePackets := false, false, false
	for _, p := range parts {
		sum.Bytes += p.Bytes
		sum.Start, sum.End = min(sum.Start, p.Start), max(sum.End, p.End)
		if p.LostPackets != nil {
			haveLoss = true
			lost += *p.LostPackets
			jitter += *p.JitterMillis / 1000
		}
		if p.Packets != nil {
			havePackets = true
			packets += *p.Packets
		}
		if p.Retransmits != nil && *p.Retransmits >= 0 {
			haveRetransmits = true
			retransmits += *p.Retransmits
		}
	}
	sum.Seconds = sum.End - sum.Start
	if sum.Seconds > 0 {
		sum.BitsPerSecond = float64(sum.Bytes) * 8 / sum.Seconds
	}
	switch {
	case haveLoss:
		sum.addLoss(lost, packets, jitter/float64(len(parts)))
	case havePackets:
		sum.Packets = &packets
	}
	if haveRetransmits {
		sum.Retransmits = &retransmits
	}
	return sum
}
