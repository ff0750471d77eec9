// Package session holds what a worker needs to seal and open a peer's packets:
// keys, the send counter, the replay window, and the times from which the
// tunnel machine concludes what to do next.
//
// Sessions and peers belong to one worker. Only the fields of type atomic may
// be read by others while it runs.
package session

import (
	"fmt"
	"time"

	"golang.zx2c4.com/wireguard/replay"

	"dssn/dataplane/aead"
)

// Limits of a session (WireGuard paper, section 6.1).
const (
	RekeyAfterMessages  = 1 << 60
	RejectAfterMessages = 1<<64 - 1<<13 - 1
	RekeyAfterTime      = 120 * time.Second
	RejectAfterTime     = 180 * time.Second
	KeepaliveTimeout    = 10 * time.Second
	RekeyTimeout        = 5 * time.Second
)

// The transport message:
//
//	0       1        4            8          16
//	| type 4 | zeros | receiver's | counter   | sealed: inner packet,  | tag  |
//	|        |       | index LE   | LE        | zeros to 16            | 16   |
const (
	TypeTransport = 4
	HeaderLen     = 16
	Overhead      = HeaderLen + aead.TagSize
)

// MaxWorkers bounds the workers of an engine: the lowest byte of a session's index
// says whose it is, so that whoever leads messages to workers needs no table.
const MaxWorkers = 256

// IndexOf makes an index of a worker's session from a random number.
func IndexOf(worker int, random uint32) uint32 { return random&^(MaxWorkers-1) | uint32(worker) }

// WorkerOf says whose session an index is for, if it is one of ours.
func WorkerOf(index uint32) int { return int(index & (MaxWorkers - 1)) }

// Keys are what a finished handshake gives. Times are counted from when the
// engine was opened.
type Keys struct {
	Suite         aead.Suite
	Send, Receive [32]byte
	Local, Remote uint32 // index of this session here and there
	Created       time.Duration
	Initiator     bool
}

// Session seals and opens with one pair of keys.
type Session struct {
	Local, Remote uint32
	Created       time.Duration
	Initiator     bool
	Peer          *Peer
	Send, Receive *aead.Key

	// Counter is the number of the next message to seal.
	Counter uint64
	// Confirmed is set when something from the other side was opened: only
	// then may a responder send.
	Confirmed bool
	// Asked is set when the session's age has already called for another.
	Asked  bool
	replay replay.Filter
}

// New makes a session of p from keys, which may be wiped afterwards.
func New(p *Peer, k *Keys) (*Session, error) {
	send, err := aead.New(k.Suite, k.Send[:k.Suite.KeySize()])
	if err != nil {
		return nil, fmt.Errorf("make a session with %v: %w", p.Key, err)
	}
	receive, err := aead.New(k.Suite, k.Receive[:k.Suite.KeySize()])
	if err != nil {
		return nil, fmt.Errorf("make a session with %v: %w", p.Key, err)
	}
	return &Session{
		Local: k.Local, Remote: k.Remote, Created: k.Created, Initiator: k.Initiator,
		Peer: p, Send: send, Receive: receive,
	}, nil
}

// Usable reports whether the session may seal at now.
func (s *Session) Usable(now time.Duration) bool {
	return now-s.Created < RejectAfterTime && s.Counter < RejectAfterMessages
}

// Old reports whether a session that seals at now should be replaced: only its
// initiator begins, so that both sides do not at once.
func (s *Session) Old(now time.Duration) bool {
	return s.Counter >= RekeyAfterMessages || s.Initiator && now-s.Created >= RekeyAfterTime
}

// OldToReceive is Old for a side that only receives: late enough for the
// sender to have done it, early enough for the session not to end.
func (s *Session) OldToReceive(now time.Duration) bool {
	return s.Initiator && now-s.Created >= RejectAfterTime-KeepaliveTimeout-RekeyTimeout
}

// Fresh records that the message with this counter was opened and reports
// whether it is the first with it and within the window.
func (s *Session) Fresh(counter uint64) bool {
	return s.replay.ValidateCounter(counter, RejectAfterMessages)
}

// Wipe erases the keys.
func (s *Session) Wipe() {
	s.Send.Wipe()
	s.Receive.Wipe()
}
