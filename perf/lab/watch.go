package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"dssn"
	"dssn/controller/evidence"
	"dssn/controller/northbound"
)

// status asks the controller how the network is, as its operator would.
func (sh *shell) status(ctx context.Context) (s northbound.Status, err error) {
	_, err = sh.run(ctx, line{node: string(RoleController), args: []string{"dssn", "status"}, value: &s, quiet: true})
	return s, err
}

// settled waits until every node of the plan is connected and acts on its
// newest assignment, and every link of the plan is up in both directions.
func (l *Lab) settled(ctx context.Context, sh *shell) error {
	limit := l.settlePatience()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	missing := []string{"everything"}
	for {
		if s, err := sh.status(ctx); err == nil {
			if missing = l.missing(s); len(missing) == 0 {
				return nil
			}
		}
		for _, p := range l.processes {
			select {
			case <-p.Done():
				return fmt.Errorf("%s ended (%v); its log ends with: %s", p.Name, p.Err(), p.LogTail(3))
			default:
			}
		}
		select {
		case <-ctx.Done():
			if len(missing) > 6 {
				missing = append(missing[:6], "…")
			}
			return fmt.Errorf("after %s the network is not whole: %s", limit, strings.Join(missing, "; "))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// missing lists what the status does not yet have of the plan.
func (l *Lab) missing(s northbound.Status) (out []string) {
	nodes := map[string]northbound.Node{}
	for _, n := range s.Nodes {
		nodes[n.Name] = n
	}
	for _, n := range l.Plan.Nodes {
		if n.Role != RoleBackbone && n.Role != RoleTerminal {
			continue
		}
		v, ok := nodes[n.Name]
		switch {
		case !ok:
			out = append(out, n.Name+" has not joined")
		case !v.Connected:
			out = append(out, n.Name+" is not connected")
		case v.Problem != "":
			out = append(out, n.Name+" says: "+v.Problem)
		case v.Issued == 0 || v.Applied != v.Issued:
			out = append(out, fmt.Sprintf("%s acts on assignment %d of %d", n.Name, v.Applied, v.Issued))
		}
	}
	up := map[string]bool{}
	for _, k := range s.Links {
		up[k.Name] = k.Up
	}
	for _, w := range l.Plan.Wires {
		a, b := w.Ends[0].Node, w.Ends[1].Node
		if w.Kind == wireManagement {
			continue
		}
		for _, name := range []string{a + ">" + b, b + ">" + a} {
			if l.directed(w, name) && !up[name] {
				out = append(out, "link "+name+" is not up")
			}
		}
	}
	return out
}

// directed reports whether the topology has this direction of a wire; access
// links have both.
func (l *Lab) directed(w Wire, name string) bool {
	if w.Kind == wireAccess {
		return true
	}
	from, to, _ := strings.Cut(name, ">")
	i, _ := l.Graph.NodeByName(from)
	j, _ := l.Graph.NodeByName(to)
	_, ok := l.Graph.LinkBetween(i, j)
	return ok
}

// reservations counts the reservations that stand, as the controller knows them.
func (r *runner) reservations(ctx context.Context) (n int, err error) {
	var list []northbound.Reservation
	_, err = r.sh.run(ctx, line{node: string(RoleController), args: []string{"dssn", "reservations"}, value: &list, quiet: true})
	for _, v := range list {
		if v.State != northbound.StateTerminated {
			n++
		}
	}
	return n, err
}

// steered reports whether every node does its part in steering by carriers.
func steered(s northbound.Status) bool {
	for _, n := range s.Nodes {
		if n.Role == "terminal" && !n.Features.CarrierEgress || n.Role == "backbone" && !n.Features.NextCSID {
			return false
		}
	}
	return true
}

// settledTransfer waits until both ends have reported the finished transfer.
func (r *runner) settledTransfer(ctx context.Context, id string) (t northbound.Transfer, err error) {
	const limit = 10 * time.Second
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("after %s the ends of transfer %s have not both reported", limit, id))
	defer cancel()
	for {
		var u northbound.Usage
		_, err := r.sh.run(ctx, line{node: r.consumer, args: []string{"dssn", "usage"}, value: &u, quiet: true})
		if err != nil {
			return t, err
		}
		for _, t := range u.Transfers {
			if t.ID == id && t.State != northbound.TransferRunning {
				if t.State != northbound.TransferSettled {
					return t, fmt.Errorf("transfer %s is %s: the holder says %d bytes, the receiver %d", id, t.State, t.HolderBytes, t.ReceiverBytes)
				}
				return t, nil
			}
		}
		select {
		case <-ctx.Done():
			return t, context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// forge returns the receipt with one more byte on it.
func forge(receipt []byte, n dssn.ByteCount) ([]byte, error) {
	var f evidence.File
	if err := json.Unmarshal(receipt, &f); err != nil {
		return nil, fmt.Errorf("read the receipt: %w", err)
	}
	was, is := strconv.AppendUint(nil, uint64(n), 10), strconv.AppendUint(nil, uint64(n)+1, 10)
	if !bytes.Contains(f.Body, was) {
		return nil, errors.New("the receipt does not say how many bytes were transferred")
	}
	f.Body = bytes.ReplaceAll(f.Body, was, is)
	return json.Marshal(f)
}

// until tries f until it works, with a last error after limit.
func until(ctx context.Context, limit time.Duration, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}
