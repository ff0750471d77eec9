package core

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha512"
	"encoding/json"
	"time"

	"dssn"
	"dssn/controller/northbound"
)

// What must hold of an input, judged in the step that takes it: that it is not
// said for the second time (Idempotency-Key), and that the thing is still as its
// author saw it (If-Match). Answers are part of the state, so a client that lost
// one to a crash gets the same when it asks again.

const (
	// onceKept is how long an answer is remembered.
	onceKept = 24 * time.Hour
	// maxOnce bounds the answers that are remembered for one client.
	maxOnce = 10_000
)

// Once says that an input with this key is to be applied once.
type Once struct {
	Client string `json:"client"`
	Key    string `json:"key"`
	Digest []byte `json:"digest"` // of what is asked for
}

// Done is what came of an input that was to be applied once.
type Done struct {
	Digest  []byte          `json:"digest"`
	Until   time.Time       `json:"until"`
	Reply   json.RawMessage `json:"reply,omitempty"`
	Refusal *Refusal        `json:"refusal,omitempty"`
}

// conditional applies an input whose conditions hold.
func (x *step) conditional(in Input) (Reply, error) {
	if in.Once == nil {
		if err := x.match(in); err != nil {
			return Reply{}, err
		}
		return x.apply(in)
	}
	o := in.Once
	if d := x.s.Once[o.Client][o.Key]; d != nil {
		return d.again(o)
	}
	if len(x.s.Once[o.Client]) >= maxOnce {
		return Reply{}, refuse(Conflict, "%d answers with an Idempotency-Key are remembered for you: wait until some are a day old, or send none", maxOnce)
	}
	err := x.match(in)
	var r Reply
	if err == nil {
		r, err = x.apply(in)
	}
	d := &Done{Digest: bytes.Clone(o.Digest), Until: x.now.Add(onceKept)}
	switch refusal, refused := err.(*Refusal); {
	case refused:
		d.Refusal = refusal
	case err != nil:
		return r, err
	default:
		b, err := json.Marshal(r)
		if err != nil {
			panic("a reply cannot be written: " + err.Error()) // every field has a JSON form
		}
		d.Reply = b
	}
	if x.s.Once == nil {
		x.s.Once = map[string]map[string]*Done{}
	}
	if x.s.Once[o.Client] == nil {
		x.s.Once[o.Client] = map[string]*Done{}
	}
	x.s.Once[o.Client][o.Key] = d
	x.wake(dueOnce, o.Client+"\x00"+o.Key, 0)
	return r, err
}

// again gives the answer for the second time.
func (d *Done) again(o *Once) (r Reply, err error) {
	switch {
	case !bytes.Equal(d.Digest, o.Digest):
		return r, refuse(Reused, "the Idempotency-Key %.80q was used for another request: use a new one for each", o.Key)
	case d.Refusal != nil:
		again := *d.Refusal
		return r, &again
	}
	if err := json.Unmarshal(d.Reply, &r); err != nil {
		return r, refuse(Conflict, "the answer remembered for the Idempotency-Key %.80q cannot be read: look whether it was done, and use a new key if not", o.Key)
	}
	return r, nil
}

// match checks Input.Match against the thing that the input changes.
func (x *step) match(in Input) error {
	if in.Match == "" {
		return nil
	}
	var thing any
	switch {
	case in.Commit != nil:
		thing = x.matchReservation(in.Commit.By, in.Commit.ID)
	case in.Modify != nil:
		thing = x.matchReservation(in.Modify.By, in.Modify.ID)
	case in.Release != nil:
		thing = x.matchReservation(in.Release.By, in.Release.ID)
	case in.Extend != nil:
		thing = x.matchReservation(in.Extend.By, in.Extend.ID)
	case in.Boost != nil:
		thing = x.matchReservation(in.Boost.By, in.Boost.ID)
	case in.Revoke != nil:
		thing = pointed(x.s.Grants[in.Revoke.ID])
	case in.Approve != nil:
		thing = pointed(x.s.Grants[in.Approve.ID])
	case in.Unfreeze != nil:
		thing = pointed(x.s.Freezes[in.Unfreeze.ID])
	case in.RemovePerson != nil:
		if p := x.s.People[in.RemovePerson.Name]; p != nil {
			thing = p.Person
		}
	default:
		return refuse(Invalid, "If-Match has no meaning for this request: send it without")
	}
	if thing == nil || !northbound.Matches(in.Match, northbound.ETag(thing)) {
		return refuse(Precondition, "it is no longer as you saw it (If-Match): look at it again, and decide again")
	}
	return nil
}

func (x *step) matchReservation(by Principal, id dssn.ReservationID) any {
	if r := x.s.Reservations[id]; r != nil && mayRead(by, r.Institution) {
		return *x.view(r)
	}
	return nil
}

func pointed[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

// Derive makes a secret that only this controller's journal gives, and gives
// again: 64 bytes for each label.
func (c *Core) Derive(label string) []byte {
	h := hmac.New(sha512.New, c.s.Secret)
	h.Write([]byte("dssn derive " + label))
	return h.Sum(nil)
}
