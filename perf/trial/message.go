package trial

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"dssn/perf/report"
)

// Version of the protocol; ends of different versions refuse each other.
const Version = 1

// MaxMessageBytes bounds a message. Histograms of a trial take a few thousand
// bytes, a report to be signed up to some hundred thousand.
const MaxMessageBytes = 4 << 20

// Message is one control message: exactly one field is set. On the wire it is a
// 4-byte big-endian length and JSON.
type Message struct {
	Hello    *Hello            `json:"hello,omitempty"`
	Trial    *Request          `json:"trial,omitempty"`
	Ready    *Ready            `json:"ready,omitempty"`
	Finish   *Finish           `json:"finish,omitempty"`
	Sent     *Sent             `json:"sent,omitempty"`
	Received *Received         `json:"received,omitempty"`
	Sign     *Sign             `json:"sign,omitempty"`
	Signed   *report.Signature `json:"signed,omitempty"`
	Error    *Error            `json:"error,omitempty"`
}

// Hello is how an end begins.
type Hello struct {
	Version int    `json:"version"`
	Name    string `json:"name"`
	// Proof is HMAC-SHA256 under the shared secret of the TLS session's exporter
	// and the sender's role; absent where ends prove themselves by certificate.
	Proof        []byte     `json:"proof,omitempty"`
	Port         uint16     `json:"port"`  // UDP, at the address of the control connection
	Clock        uint16     `json:"clock"` // tag of the clock
	Synchronised bool       `json:"clock_synchronised"`
	End          report.End `json:"end"` // the machine, for the report
}

// Request describes a trial.
type Request struct {
	ID      uint32 `json:"id"`      // in every datagram
	Reverse bool   `json:"reverse"` // the responder sends
	Load    Load   `json:"load"`
}

// Load is what one end sends.
type Load struct {
	Size int `json:"size"` // of an IP packet, bytes
	// Interval is the mean time between packets in 1/1024 ns; 0 is as fast as it goes.
	Interval uint64 `json:"interval"`
	Burst    int    `json:"burst"`     // packets back to back
	Count    uint64 `json:"count"`     // packets; 0: until Millis are over
	Millis   int    `json:"millis"`    // at most
	Settle   int    `json:"settle_ms"` // how long packets may be on their way
	// Delays asks for the histograms, which make an account long.
	Delays bool `json:"delays,omitempty"`
	// Prime is how many packets go before, as fast as PrimeInterval says, to use up
	// a policer's depth; they are not counted. PrimePause is between them and the
	// trial, in microseconds.
	Prime         uint64 `json:"prime,omitempty"`
	PrimeInterval uint64 `json:"prime_interval,omitempty"`
	PrimePause    int    `json:"prime_pause_us,omitempty"`
}

// Bounds of a Load.
const (
	MinSize     = 70 // IPv6, UDP, signature, trial
	MaxSize     = 9000
	MaxMillis   = 24 * 3600 * 1000
	MaxSettle   = 10_000
	MaxPrime    = 10_000_000
	maxInterval = 100 * 1e9 * 1024
)

// Check says in one sentence what is wrong with a load.
func (l *Load) Check() error {
	switch {
	case l.Size < MinSize || l.Size > MaxSize:
		return fmt.Errorf("packets of %d bytes: use %d to %d", l.Size, MinSize, MaxSize)
	case l.Burst < 0 || l.Burst > 1<<20:
		return fmt.Errorf("bursts of %d packets: use 1 to %d", l.Burst, 1<<20)
	case l.Millis < 1 || l.Millis > MaxMillis:
		return fmt.Errorf("a trial of %d ms: use 1 to %d", l.Millis, MaxMillis)
	case l.Settle < 0 || l.Settle > MaxSettle:
		return fmt.Errorf("a wait of %d ms for the last packets: use 0 to %d", l.Settle, MaxSettle)
	case l.Prime > MaxPrime || l.PrimePause < 0 || l.PrimePause > 10_000_000:
		return fmt.Errorf("%d packets before the trial and a pause of %d µs: use at most %d and 10 s", l.Prime, l.PrimePause, MaxPrime)
	case l.Interval > maxInterval || l.PrimeInterval > maxInterval:
		return errors.New("a rate of less than one packet in 100 s: send faster")
	case l.Count > 1<<40:
		return fmt.Errorf("%d packets: use at most %d", l.Count, uint64(1)<<40)
	}
	return nil
}

// Ready says that the receiver counts, or that the sender begins.
type Ready struct {
	ID uint32 `json:"id"`
}

// Finish says that the tester has sent everything.
type Finish struct {
	ID uint32 `json:"id"`
}

// Sent is the sender's account.
type Sent struct {
	ID      uint32  `json:"id"`
	Packets uint64  `json:"packets"`
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"cpu"`          // of the sending thread, 0 to 1
	Behind  int64   `json:"behind_ns"`    // given up, see gen.Schedule
	Worst   int64   `json:"worst_ns"`     // latest departure
	Refused uint64  `json:"send_refused"` // sends that the kernel refused, and that were made again
}

// Received is the receiver's account. Delays are in nanoseconds: index into
// gen.Histogram's buckets, count.
type Received struct {
	ID         uint32      `json:"id"`
	Packets    uint64      `json:"packets"`
	Bytes      uint64      `json:"bytes"` // of IP packets
	Duplicates uint64      `json:"duplicates"`
	Reordered  uint64      `json:"reordered"`
	Late       uint64      `json:"late"`
	Negative   uint64      `json:"negative_delays"`
	Span       uint64      `json:"span_ns"` // from the first arrival to the last
	Jitter     int64       `json:"jitter_ns"`
	Dropped    uint64      `json:"socket_dropped"` // had no room in the receiver's own socket
	Delay      [][2]uint64 `json:"delay,omitempty"`
	Variation  [][2]uint64 `json:"variation,omitempty"`
}

// Sign asks the other end to sign a result, of which it checks that it took part.
type Sign struct {
	Result json.RawMessage `json:"result"`
}

// Error ends the session, or refuses a request.
type Error struct {
	Text string `json:"text"`
	Busy bool   `json:"busy,omitempty"`
}

// Error returns the text.
func (e *Error) Error() string { return e.Text }

// Write sends a message.
func Write(w io.Writer, m Message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode a control message: %w", err)
	}
	if len(body) > MaxMessageBytes {
		return fmt.Errorf("a control message of %d bytes is too long", len(body))
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
	return err
}

// errMessage is wrapped by Read's error if the bytes are no message.
var errMessage = errors.New("not a message of this protocol: is the other end `dssn perf responder` of this version?")

// Read receives one message. An *Error message comes back as the error.
func Read(r io.Reader) (Message, error) {
	var m Message
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return m, fmt.Errorf("the control connection ended: %w", err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 2 || n > MaxMessageBytes {
		return m, fmt.Errorf("a message of %d bytes: %w", n, errMessage)
	}
	// Grow with what arrives, so that a length alone costs nothing.
	var body bytes.Buffer
	if got, err := io.CopyN(&body, r, int64(n)); err != nil {
		return m, fmt.Errorf("the control connection ended after %d of %d bytes of a message: %w", got, n, err)
	}
	d := json.NewDecoder(&body)
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return Message{}, fmt.Errorf("%w (%v)", errMessage, err)
	}
	if _, err := d.Token(); err != io.EOF || m.fields() != 1 {
		return Message{}, errMessage
	}
	if m.Error != nil {
		return Message{}, m.Error
	}
	return m, nil
}

func (m *Message) fields() (n int) {
	for _, set := range []bool{m.Hello != nil, m.Trial != nil, m.Ready != nil, m.Finish != nil, m.Sent != nil, m.Received != nil, m.Sign != nil, m.Signed != nil, m.Error != nil} {
		if set {
			n++
		}
	}
	return n
}
