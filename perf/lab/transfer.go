package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"dssn"
	"dssn/perf/lab/scenario"
)

// fetched is what `dssn get` says of a transfer.
type fetched struct {
	Transfer string         `json:"transfer"`
	Bytes    dssn.ByteCount `json:"content_bytes"`
	Digest   string         `json:"digest"`
	Duration time.Duration  `json:"duration_ns"`
}

// transfer is steps 5, 6 and 7, which happen together: the consumer fetches by
// identifier; meanwhile a link of the path is cut, and after it the controller
// is killed and started again.
func (r *runner) transfer(ctx context.Context) error {
	flow, err := r.lab.watchFlow(r.consumer, insideInterface)
	if err != nil {
		return err
	}
	defer func() {
		if flow != nil {
			flow.close()
		}
	}()
	p := &progress{flow: flow, size: r.Size}
	paths, err := r.lab.followPaths(ctx, r.holder, r.consumer, p.percent)
	if err != nil {
		return err
	}
	defer paths.stop()

	var got fetched
	began := time.Now()
	p.done = r.sh.begin(ctx, line{node: r.consumer, value: &got, args: []string{"dssn", "get", r.uri, "-o", r.sink}})
	endScenario, err := r.play(ctx)
	if err != nil {
		return err
	}
	defer endScenario()

	cut, err := r.cutLink(ctx, p, paths)
	if err != nil {
		return err
	}
	if err := r.killController(ctx, p); err != nil {
		return err
	}
	t := p.wait()
	took := time.Since(began)
	samples, flowErr := flow.close()
	flow = nil
	if err := errors.Join(t.err, flowErr, endScenario()); err != nil {
		return err
	}
	if r.report.Paths, err = paths.close(); err != nil {
		return err
	}
	r.report.Transfer = ReportTransfer{ID: got.Transfer, Bytes: got.Bytes, Seconds: seconds(took), Goodput: dssn.RateOf(got.Bytes, took), Root: got.Digest}
	if !cut.IsZero() {
		v, ok := resumed(samples, cut)
		if !ok {
			return fmt.Errorf("nothing arrived at %s after %s was cut", r.consumer, r.report.Cut.Link)
		}
		r.report.Cut.ToFlow, r.report.Cut.Silence = seconds(v.ToFlow), seconds(v.Silence)
		r.say("data flowed again %.0f ms after the cut, which itself took %.0f ms; the longest silence was %.0f ms",
			v.ToFlow.Seconds()*1000, r.report.Cut.Took*1000, v.Silence.Seconds()*1000)
	}
	r.report.Steps = append(r.report.Steps, ReportStep{stepNames[4], seconds(took)},
		ReportStep{stepNames[5], r.report.Cut.ToFlow}, ReportStep{stepNames[6], r.report.Kill.Away})
	if err := r.compare(); err != nil {
		return err
	}
	return r.stock(ctx)
}

// play begins the scenario, if there is one; the returned function ends it and
// says what did not work.
func (r *runner) play(ctx context.Context) (end func() error, err error) {
	if r.Scenario == "" {
		return func() error { return nil }, nil
	}
	own, err := Open(r.lab.Plan.ID) // a Lab belongs to one goroutine
	if err != nil {
		return nil, err
	}
	s, err := own.ReadScenario(r.Scenario)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	began := time.Now()
	go func() {
		done <- own.Play(ctx, s, func(a scenario.Action) {
			r.say("scenario, %v: %s", a.At, a)
			r.report.Scenario = append(r.report.Scenario, ReportAction{seconds(time.Since(began)), a.String()})
		})
	}()
	return sync.OnceValue(func() error {
		stop()
		err := <-done
		if own.spawn != nil {
			own.spawn.close()
		}
		if errors.Is(err, context.Canceled) {
			return nil // the fetch was faster than the scenario
		}
		return err
	}), nil
}

// insideInterface is where a terminal's programs meet the network.
const insideInterface = "dssn0"

// progress follows a transfer from outside.
type progress struct {
	flow  *flowMeter
	size  dssn.ByteCount
	done  <-chan typed
	ended *typed
}

// share is how much of the dataset has arrived, 0 to 1; headers and what is
// sent twice make it run ahead by a few hundredths.
func (p *progress) share() float64 { return min(1, float64(p.flow.received())/float64(p.size)) }

func (p *progress) percent() float64 { return float64(int(p.share()*1000)) / 10 }

// reach returns when the share has arrived, or an error if the transfer ended before.
func (p *progress) reach(ctx context.Context, share float64, what string) error {
	for p.share() < share {
		select {
		case t := <-p.done:
			p.ended = &t
			if t.err != nil {
				return t.err
			}
			return fmt.Errorf("the transfer ended before %s: choose a larger --size or a smaller --ceiling", what)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(2 * time.Millisecond):
		}
	}
	return nil
}

func (p *progress) wait() typed {
	if p.ended == nil {
		t := <-p.done
		p.ended = &t
	}
	return *p.ended
}

// cutLink is step 6. It returns the moment of the cut; zero if the path has no
// link that the network can spare.
func (r *runner) cutLink(ctx context.Context, p *progress, paths *pathLog) (time.Time, error) {
	if err := p.reach(ctx, cutAt, "a link could be cut"); err != nil {
		return time.Time{}, err
	}
	path, index := paths.current()
	link, err := r.spare(path.Hops)
	if err != nil {
		r.report.Cut.Spared = err.Error()
		r.say("no link is cut: %v", err)
		return time.Time{}, nil
	}
	r.report.Cut = ReportCut{Link: link, Path: index, AtPercent: p.percent()}
	cut := time.Now()
	if err := r.lab.Cut(link); err != nil {
		return cut, err
	}
	r.report.Cut.Took = seconds(time.Since(cut))
	r.say("at %.0f %% the link %s, which carries the transfer, is cut", r.report.Cut.AtPercent, link)
	if err := r.newPath(ctx, link, paths); err != nil {
		return cut, err
	}
	r.report.Cut.Moved = seconds(time.Since(cut))
	return cut, nil
}

// newPath waits until the edge says that it uses a path without the link.
func (r *runner) newPath(ctx context.Context, link string, paths *pathLog) error {
	return until(ctx, 5*time.Second, func() error {
		now, _ := paths.current()
		if crosses(now.Hops, link) {
			return fmt.Errorf("five seconds after the cut %s still uses %s", r.holder, strings.Join(now.Hops, " → "))
		}
		r.say("the transfer goes on over %s", strings.Join(now.Hops, " → "))
		return nil
	})
}

// spare chooses the link of a path to cut: the first fibre without which the
// two hubs at its ends still reach each other.
func (r *runner) spare(hops []string) (string, error) {
	for i := 1; i < len(hops); i++ {
		w, err := r.lab.Plan.Wire(hops[i-1] + "-" + hops[i])
		if err != nil || w.Kind != wireFibre {
			continue
		}
		if r.lab.connectedWithout(w) {
			return w.Name, nil
		}
	}
	return "", errors.New("every link of the path is the only way between its ends")
}

// connectedWithout reports whether the ends of a fibre reach each other without it.
func (l *Lab) connectedWithout(w Wire) bool {
	reached, todo := map[string]bool{w.Ends[0].Node: true}, []string{w.Ends[0].Node}
	for len(todo) > 0 {
		at := todo[0]
		todo = todo[1:]
		for _, o := range l.Plan.Wires {
			if o.Kind != wireFibre || o.Name == w.Name {
				continue
			}
			for i, e := range o.Ends {
				if far := o.Ends[1-i].Node; e.Node == at && !reached[far] {
					reached[far] = true
					todo = append(todo, far)
				}
			}
		}
	}
	return reached[w.Ends[1].Node]
}

// killController is step 7: SIGKILL, a while without, and a new start.
func (r *runner) killController(ctx context.Context, p *progress) error {
	before, err := r.reservations(ctx)
	if err != nil {
		return err
	}
	if err := p.reach(ctx, killAt, "the controller could be killed"); err != nil {
		return err
	}
	k := &r.report.Kill
	k.Before, k.AtPercent = before, p.percent()
	killed := time.Now()
	r.lab.processes["controller"].Kill()
	r.say("at %.0f %% the controller is killed (SIGKILL)", k.AtPercent)
	if err := p.reach(ctx, p.share()+awayAt, "the controller could be started again"); err != nil {
		return err
	}
	if err := r.lab.startController(ctx, r.sh); err != nil {
		return err
	}
	k.Away, k.BackAtPercent = seconds(time.Since(killed)), p.percent()
	if k.After, err = r.reservations(ctx); err != nil {
		return err
	}
	r.say("at %.0f %% the controller is back after %.2f s and remembers %d of %d reservations", k.BackAtPercent, k.Away, k.After, k.Before)
	return nil
}

// compare is the lab's own judgement of what arrived.
func (r *runner) compare() error {
	digest, n, err := sameTree(r.source, r.sink)
	if err != nil {
		return fmt.Errorf("compare what was published with what arrived: %w", err)
	}
	r.report.Compared = ReportCheck{SHA256: fmt.Sprintf("%x", digest), Bytes: n}
	r.say("all %d bytes in %d files are those that were published", n, r.report.Dataset.Files)
	return nil
}
