package iperf

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
)

// State is one step of a test, sent as one byte on the control connection.
type State int8

// The states, with iperf3's numbers.
const (
	StateTestStart       State = 1
	StateTestRunning     State = 2
	StateTestEnd         State = 4
	StateParamExchange   State = 9
	StateCreateStreams   State = 10
	StateServerTerminate State = 11
	StateClientTerminate State = 12
	StateExchangeResults State = 13
	StateDisplayResults  State = 14
	StateDone            State = 16
	StateAccessDenied    State = -1 // the server is busy
	StateServerError     State = -2 // two big-endian 32-bit numbers follow
)

// cookieBytes is the length of a cookie: 36 characters and a zero byte.
const cookieBytes = 37

// maxMessageBytes bounds a JSON message from the other end. Results of 128
// streams take about 25 KB.
const maxMessageBytes = 1 << 20

// iperf3's own error numbers, as they travel after StateServerError.
const (
	codeRecvParams = 114
	codeUnknown    = 110
)

// RemoteError is a refusal in the protocol's own words.
type RemoteError struct {
	State State
	Code  int // iperf3's error number after StateServerError
}

// Error says what the other end meant and what to do about it.
func (e *RemoteError) Error() string {
	switch e.State {
	case StateAccessDenied:
		return "the server is busy with another test: try again when it has ended"
	case StateServerTerminate:
		return "the server was stopped during the test: start it again and repeat the test"
	case StateClientTerminate:
		return "the client was stopped during the test"
	case StateServerError:
		return fmt.Sprintf("the server refused the test (iperf3 error %d): check the options against the server's version and limits", e.Code)
	}
	return fmt.Sprintf("the other end answered with state %d, which does not belong here: is it an iperf3 of version 3.1 or later?", e.State)
}

func writeState(w io.Writer, s State) error {
	_, err := w.Write([]byte{byte(s)})
	return err
}

// readState reads the next state; a refusal comes back as *RemoteError.
func readState(r io.Reader) (State, error) {
	var b [1]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, fmt.Errorf("the control connection ended: %w", err)
	}
	s := State(int8(b[0]))
	switch s {
	case StateAccessDenied, StateServerTerminate, StateClientTerminate:
		return s, &RemoteError{State: s}
	case StateServerError:
		var code [8]byte
		if _, err := io.ReadFull(r, code[:]); err != nil {
			return s, &RemoteError{State: s}
		}
		return s, &RemoteError{State: s, Code: int(int32(binary.BigEndian.Uint32(code[:])))}
	}
	return s, nil
}

// expectState reads states until want; states in skip are passed over.
func expectState(r io.Reader, want State, skip ...State) error {
next:
	s, err := readState(r)
	if err != nil || s == want {
		return err
	}
	for _, k := range skip {
		if s == k {
			goto next
		}
	}
	return &RemoteError{State: s}
}

func writeServerError(w io.Writer, code int) error {
	b := []byte{byte(0xfe), 0, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(b[1:], uint32(code))
	_, err := w.Write(b)
	return err
}

// writeJSON sends v behind its 4-byte big-endian length.
func writeJSON(w io.Writer, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
	return err
}

var errMessageSize = errors.New("its length is out of range")

// readJSON reads one message of at most maxMessageBytes into v.
func readJSON(r io.Reader, v any) error {
	var n [4]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return fmt.Errorf("read message: %w", err)
	}
	size := binary.BigEndian.Uint32(n[:])
	if size == 0 || size > maxMessageBytes {
		return fmt.Errorf("read message of %d bytes: %w", size, errMessageSize)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return fmt.Errorf("read message of %d bytes: %w", size, err)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("read message: %w", err)
	}
	return nil
}

// Integer is a JSON number as iperf3 writes them: -1 may appear as
// 18446744073709551615, and counts may appear with a fraction.
type Integer int64

// UnmarshalJSON accepts every way in which iperf3 writes a whole number.
func (i *Integer) UnmarshalJSON(b []byte) error {
	if v, err := strconv.ParseInt(string(b), 10, 64); err == nil {
		*i = Integer(v)
		return nil
	}
	if v, err := strconv.ParseUint(string(b), 10, 64); err == nil {
		*i = Integer(int64(v))
		return nil
	}
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil || math.IsNaN(f) {
		return fmt.Errorf("%q is not a number", b)
	}
	switch {
	case f >= math.MaxUint64:
		*i = -1
	case f >= math.MaxInt64:
		*i = Integer(int64(uint64(f)))
	case f <= math.MinInt64:
		*i = math.MinInt64
	default:
		*i = Integer(f)
	}
	return nil
}

// Flag is a truth value that iperf3 writes as true or as 1, depending on the
// option.
type Flag bool

// UnmarshalJSON accepts both ways.
func (f *Flag) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "true":
		*f = true
		return nil
	case "false", "null":
		*f = false
		return nil
	}
	var i Integer
	err := i.UnmarshalJSON(b)
	*f = i != 0
	return err
}
