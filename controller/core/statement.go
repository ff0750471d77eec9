package core

import (
	"dssn/controller/northbound"
	"dssn/controller/southbound"
)

// Said is what the two ends of a running transfer have signed last.
type Said struct {
	Holder   *southbound.Delivery `json:"holder,omitempty"`
	Receiver *southbound.Delivery `json:"receiver,omitempty"`
}

// said keeps an end's signed word, if it says at least as much as the one before:
// reports may come late. Whether the signature is good is looked at once, when
// the transfer is settled.
func (x *step) said(transfer string, d southbound.Delivery) {
	if len(d.Signature) == 0 {
		return
	}
	s := x.s.Said[transfer]
	if s == nil {
		s = &Said{}
		x.s.Said[transfer] = s
	}
	old := &s.Receiver
	if d.End == southbound.EndHolder {
		old = &s.Holder
	}
	if *old == nil || d.ContentBytes > (*old).ContentBytes || d.ContentBytes == (*old).ContentBytes && d.Done {
		*old = &d
	}
}

// statements are the good signed words on a transfer, the holder's first.
func (x *step) statements(t *northbound.Transfer) (out []northbound.Statement) {
	s := x.s.Said[t.ID]
	delete(x.s.Said, t.ID)
	if s == nil {
		return nil
	}
	for _, end := range []struct {
		name string
		d    *southbound.Delivery
	}{{t.Holder, s.Holder}, {t.Receiver, s.Receiver}} {
		n := x.s.Nodes[end.name]
		if n == nil || end.d == nil {
			continue
		}
		if !end.d.SignedBy(n.Node, n.Key) {
			x.event("usage-forged", n.Name, t.Reservation, "%s sent a word on the transfer %s that it has not signed", n.Name, t.ID)
			continue
		}
		out = append(out, northbound.Statement{Node: n.Node, Key: n.Key, Delivery: *end.d})
	}
	return out
}

// unsigned names a terminal that signs its reports but has not signed its word on
// a transfer; empty where none is missing. Nodes that sign nothing are of before
// there were signatures, and their receipts say so by having none.
func (x *step) unsigned(t *northbound.Transfer) string {
	for _, name := range []string{t.Holder, t.Receiver} {
		n := x.s.Nodes[name]
		if n == nil || !n.SignsUsage {
			continue
		}
		signed := false
		for _, s := range t.Statements {
			signed = signed || s.Node == n.Node
		}
		if !signed {
			return name
		}
	}
	return ""
}
