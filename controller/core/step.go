package core

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"dssn"
	"dssn/controller/northbound"
)

// step is one call of Step in progress.
type step struct {
	*Core
	now     time.Time
	effects []Effect
	// relink is set when nodes or links changed, regrant when rights did, replan
	// when contracts did. What follows from them is brought up to date at the end
	// of the step, and only that; a test compares it with everything computed anew.
	relink, regrant, replan bool
	rebuilt                 bool            // the graph is new since the last assignments
	touched                 map[string]bool // nodes whose assignment may have changed
	moved                   map[string]bool // pairs that were given another path
	shared                  bool            // rates were divided anew
	grewAgain               bool            // background traffic began or ceased
	finished                []dssn.ReservationID
	happened                []northbound.Event
	moves                   bool // some pair has another path: delay bounds may have changed
}

// touch takes note of a changed reservation: of what it counts for, of when it
// ends, and of its ends, whose assignments may have changed.
func (x *step) touch(r *Reservation) {
	for _, key := range x.retally(r) {
		x.pairsChanged[key] = true
	}
	x.unbooked[r.ID] = true
	x.wake(dueReservation, "", r.ID)
	if !r.Implicit {
		x.tagging.changed[r.ID] = true
	}
	x.touchNode(r.Ingress)
	x.touchNode(r.Egress)
}

func (x *step) touchNode(name string) {
	if x.touched == nil {
		x.touched = map[string]bool{}
	}
	x.touched[name] = true
}

// Step applies one input at a time. Time that goes backwards is taken as
// standing still. After an error (a *Refusal) the state is as before, but for
// what was due by now; the effects are to be carried out in either case.
func (c *Core) Step(now time.Time, in Input) (Reply, []Effect, error) {
	now = now.UTC()
	if now.Before(c.s.Now) {
		now = c.s.Now
	}
	c.s.Now = now
	x := &step{Core: c, now: now}
	x.expire()
	reply, err := x.conditional(in)
	if x.relink {
		x.rebuild()
	}
	if x.relink || x.regrant || x.replan {
		x.reconcile()
	}
	x.remember()
	return reply, x.effects, err
}

func (x *step) apply(in Input) (r Reply, err error) {
	switch {
	case in.Configure != nil:
		return r, x.configure(in.Configure)
	case in.Tick != nil:
		return r, nil
	case x.s.Topology == "":
		return r, refuse(Conflict, "the controller has no network yet: start it with --topology FILE")
	case in.AddInstitution != nil:
		r.Institution, err = x.addInstitution(in.AddInstitution)
	case in.CreateToken != nil:
		r.Token, err = x.createToken(in.CreateToken)
	case in.Join != nil:
		r.Node, err = x.join(in.Join)
	case in.RemoveNode != nil:
		err = x.removeNode(in.RemoveNode)
	case in.Hello != nil:
		err = x.hello(in.Hello)
	case in.Adjacencies != nil:
		err = x.adjacencies(in.Adjacencies)
	case in.PathUse != nil:
		err = x.pathUse(in.PathUse)
	case in.Usage != nil:
		err = x.usage(in.Usage)
	case in.Reports != nil:
		r.Reports = x.reports(in.Reports)
	case in.Publish != nil:
		r.Dataset, err = x.publish(in.Publish)
	case in.Grant != nil:
		r.Grant, err = x.grant(in.Grant)
	case in.Revoke != nil:
		r.Grant, err = x.revoke(in.Revoke)
	case in.Reserve != nil:
		r.Reservation, err = x.reserve(in.Reserve)
	case in.Commit != nil:
		r.Reservation, err = x.commit(in.Commit)
	case in.Modify != nil:
		r.Reservation, err = x.modify(in.Modify)
	case in.Release != nil:
		r.Reservation, err = x.release(in.Release)
	case in.Repack != nil:
		err = x.repack(in.Repack)
	case in.Extend != nil:
		r.Reservation, err = x.extend(in.Extend)
	case in.Boost != nil:
		r.Reservation, err = x.boost(in.Boost)
	case in.Receipt != nil:
		r.Receipt, err = x.receipt(in.Receipt)
	case in.Resolve != nil:
		err = x.resolve(in.Resolve)
	case in.IssueBill != nil:
		r.Bill, err = x.issueBill(in.IssueBill)
	case in.Approve != nil:
		r.Grant, err = x.approve(in.Approve)
	case in.Freeze != nil:
		r.Freeze, err = x.freeze(in.Freeze)
	case in.Unfreeze != nil:
		r.Freeze, err = x.unfreeze(in.Unfreeze)
	case in.AddPerson != nil:
		r.Person, err = x.addPerson(in.AddPerson)
	case in.RemovePerson != nil:
		err = x.removePerson(in.RemovePerson)
	case in.CreateSession != nil:
		r.Session, err = x.createSession(in.CreateSession)
	case in.DeleteSession != nil:
		err = x.deleteSession(in.DeleteSession)
	case in.ExtendSession != nil:
		r.Session, err = x.extendSession(in.ExtendSession)
	case in.SessionReady != nil:
		err = x.ready(in.SessionReady)
	case in.NoticeDone != nil:
		err = x.noticeDone(in.NoticeDone)
	case in.AddAPIToken != nil:
		r.APIToken, err = x.addAPIToken(in.AddAPIToken)
	case in.RemoveAPIToken != nil:
		err = x.removeAPIToken(in.RemoveAPIToken)
	case in.SetPolicy != nil:
		r.Policy, err = x.setPolicy(in.SetPolicy)
	case in.SetRoles != nil:
		r.Roles, err = x.setRoles(in.SetRoles)
	default:
		err = refuse(Invalid, "the input says nothing that this version knows: update the controller")
	}
	return r, err
}

// event remembers what happened and why.
func (x *step) event(kind, node string, r dssn.ReservationID, format string, args ...any) {
	x.s.EventCount++
	e := northbound.Event{Sequence: x.s.EventCount, At: x.now, Kind: kind, Node: node, Reservation: r, Detail: fmt.Sprintf(format, args...)}
	x.s.Events = append(x.s.Events, e)
	if len(x.s.Events) > 2*maxEvents {
		x.s.Events = slices.Clone(x.s.Events[len(x.s.Events)-maxEvents:])
	}
	x.happened = append(x.happened, e)
	x.effects = append(x.effects, Effect{Event: &e})
}

// leaf writes v into the evidence log and returns its index and text.
func (x *step) leaf(v any) (int64, []byte) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("evidence %T cannot be written: %v", v, err)) // only plain data is given
	}
	i := x.s.Leaves
	x.s.Leaves++
	x.effects = append(x.effects, Effect{Leaf: &Leaf{Index: i, Data: b}})
	return i, b
}

// decision is the evidence of a change of rights or contracts.
type decision struct {
	Kind    string    `json:"kind"`
	At      time.Time `json:"at"`
	By      string    `json:"by,omitempty"`
	Subject any       `json:"subject"`
}

func (x *step) decided(kind, by string, subject any) {
	x.leaf(decision{Kind: kind, At: x.now, By: by, Subject: subject})
}

// sortedKeys makes every walk over a map the same in every replay.
func sortedKeys[K comparable, V any](m map[K]V) []K {
	keys := slices.Collect(maps.Keys(m))
	slices.SortFunc(keys, func(a, b K) int { return compareKeys(any(a), any(b)) })
	return keys
}

func compareKeys(a, b any) int {
	switch a := a.(type) {
	case string:
		return cmp.Compare(a, b.(string))
	case dssn.DataID:
		return a.Compare(b.(dssn.DataID))
	case dssn.ReservationID:
		return cmp.Compare(a, b.(dssn.ReservationID))
	}
	panic(fmt.Sprintf("no order is known for %T", a))
}
