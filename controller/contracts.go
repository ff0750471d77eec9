package controller

import (
	"context"
	"time"

	"dssn"
	"dssn/controller/core"
	"dssn/controller/northbound"
)

// Extend moves the end of a reservation.
func (s service) Extend(ctx context.Context, by northbound.WhoAmI, id dssn.ReservationID, q northbound.ExtendRequest) (northbound.Reservation, error) {
	r, err := s.engine.submit(ctx, core.Input{Extend: &core.Extend{By: by, ID: id, Request: q}})
	return value(r.Reservation), problem(err)
}

// Boost raises a contract's committed rate for a window of its own.
func (s service) Boost(ctx context.Context, by northbound.WhoAmI, id dssn.ReservationID, q northbound.BoostRequest) (northbound.Reservation, error) {
	r, err := s.engine.submit(ctx, core.Input{Boost: &core.Boost{By: by, ID: id, Request: q}})
	return value(r.Reservation), problem(err)
}

// Why says why a reservation had the rate and path that it had at a moment.
func (s service) Why(_ context.Context, by northbound.WhoAmI, id dssn.ReservationID, at time.Time) (northbound.Why, error) {
	now := s.clock()
	if at.IsZero() {
		at = now
	}
	return ask(s, func(c *core.Core) (northbound.Why, error) { return c.Why(by, id, at, now) })
}
