package controller

import (
	"context"
	"encoding/json"
	"fmt"

	"dssn"
	"dssn/controller/core"
	"dssn/controller/ledger"
	"dssn/controller/northbound"
)

// IssueBill issues the next bill of an institution by the tariff in force.
func (s service) IssueBill(ctx context.Context, by northbound.WhoAmI, q northbound.BillRequest) (northbound.IssuedBill, error) {
	to := q.To
	if to.IsZero() {
		to = s.clock()
	}
	from, err := ask(s, func(c *core.Core) (northbound.ZoneOffset, error) {
		return northbound.ZoneOffset{From: c.BillFrom(q.Institution)}, nil
	})
	if err != nil {
		return northbound.IssuedBill{}, err
	}
	text, err := json.Marshal(s.tariff)
	if err != nil {
		return northbound.IssuedBill{}, err
	}
	zone, err := ledger.Offsets(s.tariff.Zone, from.From, to)
	if err != nil {
		return northbound.IssuedBill{}, err
	}
	r, err := s.engine.submit(ctx, core.Input{IssueBill: &core.IssueBill{By: by, Institution: q.Institution, To: to, Tariff: text, Zone: zone}})
	return value(r.Bill), problem(err)
}

func (s service) IssuedBills(_ context.Context, by northbound.WhoAmI) ([]northbound.IssuedBill, error) {
	return ask(s, func(c *core.Core) ([]northbound.IssuedBill, error) { return c.IssuedBills(by), nil })
}

// BillFile reads an issued bill's file and adds the proof of its leaf.
func (s service) BillFile(ctx context.Context, by northbound.WhoAmI, number string) (f northbound.BillFile, err error) {
	document := ""
	b, err := ask(s, func(c *core.Core) (b northbound.IssuedBill, err error) {
		b, document, err = c.IssuedBill(by, number)
		return b, err
	})
	if err != nil {
		return f, err
	}
	text, err := s.engine.journal.Setting(document)
	if err != nil {
		return f, fmt.Errorf("read the bill %s: %w", number, err)
	}
	file, err := ledger.ReadFile(text)
	if err != nil {
		return f, fmt.Errorf("read the bill %s: %w", number, err)
	}
	leaf := b
	leaf.Leaf = 0 // as it was written
	body, err := json.Marshal(leaf)
	if err != nil {
		return f, err
	}
	s.witness.cover(ctx, b.Leaf)
	proof, err := s.engine.log.Receipt(b.Leaf, body)
	if err != nil {
		return f, err
	}
	file.Evidence, err = json.Marshal(proof)
	return *file, err
}

func (s service) Disputes(_ context.Context, by northbound.WhoAmI) ([]northbound.Dispute, error) {
	return ask(s, func(c *core.Core) ([]northbound.Dispute, error) { return c.Disputes(by), nil })
}

// Decide decides a dispute: of a reservation by r- and digits, else of a transfer.
func (s service) Decide(ctx context.Context, by northbound.WhoAmI, id string, q northbound.ResolveRequest) error {
	in := &core.Resolve{By: by, Bytes: q.Bytes, Reason: q.Reason}
	var err error
	if in.Reservation, err = dssn.ParseReservationID(id); err != nil {
		in.Transfer = id
	}
	_, err = s.engine.submit(ctx, core.Input{Resolve: in})
	return problem(err)
}
