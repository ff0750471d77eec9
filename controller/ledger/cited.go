package ledger

import (
	"encoding/hex"
	"encoding/json"
	"fmt"

	"dssn"
	"dssn/controller/evidence/merkle"
	"dssn/controller/northbound"
)

// Citations are the records of a bill on their way to be found in the evidence
// log. Give every leaf of the log to Leaf, then ask Found.
type Citations struct {
	records  northbound.BillRecords
	usage    map[string]bool // hashes that leaves of kind usage have
	roots    map[int64]sealed
	resolved map[dssn.ReservationID]map[uint64]bool
}

type sealed struct{ institution, root string }

// Cited prepares to look for the records of a bill.
func Cited(r northbound.BillRecords) *Citations {
	return &Citations{records: r, usage: map[string]bool{}, roots: map[int64]sealed{}, resolved: map[dssn.ReservationID]map[uint64]bool{}}
}

// Leaf takes one leaf of the log; it never fails, for a log has leaves of others.
func (c *Citations) Leaf(index int64, leaf []byte) error {
	var k struct {
		Kind        string `json:"kind"`
		Hash        string `json:"hash"`
		Institution string `json:"institution"`
		Root        string `json:"root"`
		Subject     struct {
			Reservation dssn.ReservationID `json:"reservation"`
			Bytes       uint64             `json:"bytes"`
		} `json:"subject"`
	}
	if json.Unmarshal(leaf, &k) != nil && k.Kind == "" {
		return nil
	}
	switch k.Kind {
	case "usage":
		c.usage[k.Hash] = true
	case "interval":
		c.roots[index] = sealed{k.Institution, k.Root}
	case "resolve":
		if c.resolved[k.Subject.Reservation] == nil {
			c.resolved[k.Subject.Reservation] = map[uint64]bool{}
		}
		c.resolved[k.Subject.Reservation][k.Subject.Bytes] = true
	}
	return nil
}

// Found returns how many records there were, or an error for the first that is
// not in the log.
func (c *Citations) Found() (n int, err error) {
	for i := range c.records.Transfers {
		r := &c.records.Transfers[i]
		if !c.usage[RecordHash(r)] {
			return n, fmt.Errorf("the record of transfer %.40s is not in the evidence log: the bill charges what was never settled; dispute it", r.Transfer)
		}
		n++
	}
	for i := range c.records.Contracts {
		r := &c.records.Contracts[i]
		for k := range r.Intervals {
			if !c.interval(r, &r.Intervals[k]) {
				return n, fmt.Errorf("interval %d of the contract %s is not in the evidence log: the bill charges what was never metered; dispute it", k+1, r.Reservation)
			}
			n++
		}
	}
	return n, nil
}

func (c *Citations) interval(r *northbound.ContractRecord, v *northbound.UsageInterval) bool {
	if v.Reservation != r.Reservation {
		return false
	}
	if v.Seal == nil {
		return c.resolved[v.Reservation][v.Received]
	}
	at, ok := c.roots[v.Seal.Leaf]
	if !ok || at.institution != r.Institution {
		return false
	}
	proof := make([][32]byte, len(v.Seal.Proof))
	for i, h := range v.Seal.Proof {
		b, err := hex.DecodeString(h)
		if err != nil || len(b) != 32 {
			return false
		}
		proof[i] = [32]byte(b)
	}
	root, ok := merkle.Climb(IntervalText(*v), v.Seal.Index, v.Seal.Size, proof)
	return ok && hex.EncodeToString(root[:]) == at.root
}
