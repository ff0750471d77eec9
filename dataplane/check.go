package dataplane

import (
	"fmt"

	"dssn"
)

// Check reports the first thing in t that no engine could carry out: a peer
// without a key, a key or an allowed prefix given twice, an invalid prefix, a
// meter without a reservation or of two address families. Engines check before
// they change anything, so that after an error the old tables are in force.
func (t *Tables) Check() error {
	keys := make(map[Key]bool, len(t.Peers))
	allowed := make(map[string]Key)
	for i, p := range t.Peers {
		switch {
		case p.Key == Key{}:
			return fmt.Errorf("check tables %d: peer %d has no key", t.Generation, i)
		case keys[p.Key]:
			return fmt.Errorf("check tables %d: peer %v appears twice", t.Generation, p.Key)
		case p.Suite != 0 && p.Suite.KeySize() != len(p.Key):
			return fmt.Errorf("check tables %d: peer %v has suite %v, which does not take a session's 32-byte keys", t.Generation, p.Key, p.Suite)
		case p.Keepalive < 0:
			return fmt.Errorf("check tables %d: peer %v has a negative keepalive", t.Generation, p.Key)
		}
		keys[p.Key] = true
		for j, l := range p.Lanes {
			if l.Part < 0 || l.Part >= MaxParts || l.Worker < 0 {
				return fmt.Errorf("check tables %d: lane %d of peer %v is of worker %d and part %d", t.Generation, j, p.Key, l.Worker, l.Part)
			}
		}
		for _, a := range p.Allowed {
			if !a.IsValid() {
				return fmt.Errorf("check tables %d: peer %v has an invalid allowed prefix", t.Generation, p.Key)
			}
			name := a.Masked().String()
			if other, taken := allowed[name]; taken && other != p.Key {
				return fmt.Errorf("check tables %d: %s is allowed to peers %v and %v", t.Generation, name, other, p.Key)
			}
			allowed[name] = p.Key
		}
	}
	for _, m := range t.Meters {
		switch {
		case m.Reservation == 0:
			return fmt.Errorf("check tables %d: the meter from %v to %v has no reservation", t.Generation, m.From, m.To)
		case !m.From.IsValid() || !m.To.IsValid():
			return fmt.Errorf("check tables %d: the meter of %v has an invalid prefix", t.Generation, m.Reservation)
		case m.From.Addr().Is4() != m.To.Addr().Is4():
			return fmt.Errorf("check tables %d: the meter of %v goes from %v to %v, another address family", t.Generation, m.Reservation, m.From, m.To)
		case len(m.Parts) > MaxParts:
			return fmt.Errorf("check tables %d: the meter of %v has %d parts, more than %d", t.Generation, m.Reservation, len(m.Parts), MaxParts)
		}
		if m.Mark>>28 != 0 {
			return fmt.Errorf("check tables %d: the mark %#x of %v is longer than a traffic class and a flow label", t.Generation, uint32(m.Mark), m.Reservation)
		}
		var sum dssn.Bandwidth
		for _, p := range m.Parts {
			sum += p
		}
		if sum > m.Rate {
			return fmt.Errorf("check tables %d: the parts of %v are %v together, more than its %v", t.Generation, m.Reservation, sum, m.Rate)
		}
	}
	return nil
}
