package controller_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"dssn/controller/controllertest"
	"dssn/controller/northbound"
	"dssn/controller/southbound"
)

// crowd is a world with many terminals beside the holder, all of which may reach
// one dataset and are attached.
func crowd(t *testing.T, ctx context.Context, n int) (*world, []*controllertest.Node, northbound.Grant) {
	t.Helper()
	w := newWorld(t, ctx)
	names := []string{"b", "d", "south-1"}
	var all []*controllertest.Node
	for i := range n {
		name := fmt.Sprintf("south-x%d", i)
		all = append(all, w.join(ctx, name, southbound.RoleTerminal, "south"))
		names = append(names, name)
	}
	w.see(w.hubs["c"], names...)
	for _, m := range all {
		w.see(m, "c")
	}
	r := must(w.holder.Record("flood", 1000))(t)
	must(w.holder.V1.Publish(ctx, northbound.PublishRequest{Record: r}))(t)
	g := must(w.holder.V1.Grant(ctx, northbound.GrantRequest{Data: r.ID.Prefix(), To: "south", Until: time.Now().Add(time.Hour)}))(t)
	for _, m := range all {
		must(m.Assigned(ctx, func(a *southbound.Assignment) bool { return len(a.Peers) == 1 }))(t)
	}
	must(w.holder.Assigned(ctx, func(a *southbound.Assignment) bool { return len(a.Permits) == n+1 }))(t)
	return w, all, g
}

// effective bounds how long a freeze or a revocation may take to be at every
// connected node; the figure.
const effective = 2 * time.Second

func TestAFreezeIsAtEveryNodeInTime(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w, all, g := crowd(t, ctx, 100)
	for _, c := range []struct {
		name   string
		freeze northbound.FreezeRequest
	}{
		{"a dataset", northbound.FreezeRequest{Data: g.Data}},
		{"a prefix", northbound.FreezeRequest{Data: w.holder.Registrant}},
		{"a party", northbound.FreezeRequest{Party: "south"}},
	} {
		c.freeze.Reason = "under investigation"
		soon, end := context.WithTimeout(ctx, effective)
		began := time.Now()
		f := must(w.op.Freeze(soon, c.freeze))(t)
		for _, m := range append(all, w.holder) {
			must(m.Assigned(soon, func(a *southbound.Assignment) bool { return len(a.Peers)+len(a.Permits)+len(a.Meters) == 0 }))(t)
		}
		t.Logf("a freeze of %s was at %d nodes after %v", c.name, len(all)+1, time.Since(began))
		end()
		must(w.op.Unfreeze(ctx, f.ID))(t)
		for _, m := range all {
			must(m.Assigned(ctx, func(a *southbound.Assignment) bool { return len(a.Peers) == 1 }))(t)
		}
	}
}

func TestARevokedNodeIsGoneFromEveryNodeInTime(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w, all, g := crowd(t, ctx, 100)
	// The holder is revoked: whoever had it as a peer loses it, and its session ends.
	soon, end := context.WithTimeout(ctx, effective)
	defer end()
	began := time.Now()
	if err := w.op.RemoveNode(soon, "north-1"); err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		must(m.Assigned(soon, func(a *southbound.Assignment) bool { return len(a.Peers) == 0 && len(a.Meters) == 0 }))(t)
	}
	if _, err := w.holder.Until(soon, func(*southbound.Down) bool { return false }); err == nil || soon.Err() != nil {
		t.Errorf("the session of the revoked node goes on (%v)", err)
	}
	t.Logf("a revocation was at %d nodes after %v", len(all)+1, time.Since(began))
	// Its certificate is good for a day more, and for nothing.
	_, err := w.holder.V1.Grants(ctx)
	status(t, err, 403)
	_, err = w.holder.V1.Grant(ctx, northbound.GrantRequest{Data: g.Data, To: "south", Until: time.Now().Add(time.Hour)})
	status(t, err, 403)
	if err := w.holder.Attach(ctx); err == nil {
		if _, err = w.holder.Until(ctx, func(*southbound.Down) bool { return true }); err == nil || ctx.Err() != nil {
			t.Errorf("the revoked node could attach again (%v)", err)
		}
	}
}

func TestARevokedGrantIsAtBothEndsInTime(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w, all, g := crowd(t, ctx, 20)
	soon, end := context.WithTimeout(ctx, effective)
	defer end()
	must(w.holder.V1.Revoke(soon, g.ID))(t)
	for _, m := range append(all, w.holder) {
		must(m.Assigned(soon, func(a *southbound.Assignment) bool { return len(a.Peers)+len(a.Permits)+len(a.Meters) == 0 }))(t)
	}
}
