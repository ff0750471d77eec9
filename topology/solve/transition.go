// Going from one allocation to another without overloading a link on the way.
//
// Nodes apply a step in any order, so while a step is under way every flow may be at
// its old rate or at its new one: a step is safe where the sum of the greater of the two
// fits on every link. Inside a step traffic is first taken on by new paths as far as
// there is room beside the old (make), and only in the next step given up by the old ones
// (break), so no demand falls below what it has both before and after. Where not a single
// bit of room is left for anybody to begin, somebody has to step back first; such a
// step is marked. C.-Y. Hong et al., "Achieving high utilization with software-driven
// WAN" (SWAN), SIGCOMM 2013, section 4.3.

package solve

import (
	"fmt"
	"math"
)

// Change sets one flow to a new rate.
type Change struct {
	Demand int32
	Path   []int32
	From   float64 // bits per second, 0: the path is new
	To     float64 // 0: the path is given up
}

// Step is changes that may be applied in any order, all before the next step.
type Step struct {
	Changes []Change
	// Dips says that some demand has less after this step than both before the
	// transition and after it, because there was no room to make before breaking.
	Dips bool
}

// maxTransitionSteps bounds a transition; what is left then is done by stepping
// back first, which always fits.
const maxTransitionSteps = 64

// Transition returns the steps that lead from one allocation to another, on links of
// the given capacities (0: the link has failed; flows on it are given up first).
// match says which demand of the new allocation demand i of the old one is, -1: it
// has gone; nil means the same index. An error says that one of the allocations
// itself does not fit.
func Transition(capacity []float64, from, to *Allocation, match func(int32) int32) ([]Step, error) {
	t := &transition{capacity: capacity, load: make([]float64, len(capacity)), index: map[string]int{}, first: map[int32]float64{}}
	for _, f := range from.Flows {
		d := f.Demand
		if match != nil {
			d = match(d)
		}
		t.flow(d, f.Path).now += f.Rate
	}
	for _, f := range to.Flows {
		t.flow(f.Demand, f.Path).goal += f.Rate
	}
	if err := t.check(); err != nil {
		return nil, err
	}
	t.abandon()
	for _, f := range t.flows {
		t.first[f.demand] += f.now
	}
	for len(t.steps) < maxTransitionSteps && !t.done() {
		before := len(t.steps)
		t.make()
		t.release()
		if len(t.steps) == before {
			t.stepBack(0.2)
		}
	}
	if !t.done() {
		t.stepBack(1)
		t.make()
	}
	return t.steps, nil
}

type moving struct {
	demand    int32
	path      []int32
	now, goal float64
}

type transition struct {
	capacity []float64
	load     []float64
	flows    []*moving
	index    map[string]int
	steps    []Step
	first    map[int32]float64 // by demand, its total at the start
}

func (t *transition) flow(demand int32, path []int32) *moving {
	key := fmt.Sprint(demand, path)
	if i, ok := t.index[key]; ok {
		return t.flows[i]
	}
	t.index[key] = len(t.flows)
	t.flows = append(t.flows, &moving{demand: demand, path: path})
	return t.flows[len(t.flows)-1]
}

func (t *transition) check() error {
	after := make([]float64, len(t.capacity))
	for _, f := range t.flows {
		for _, l := range f.path {
			if l < 0 || int(l) >= len(t.capacity) {
				return fmt.Errorf("transition: demand %d crosses link %d, which does not exist", f.demand, l)
			}
			t.load[l] += f.now
			after[l] += f.goal
		}
	}
	for l, c := range t.capacity {
		if after[l] > c*(1+Tolerance) {
			return fmt.Errorf("transition: the new allocation puts %.0f bps on link %d, which carries %.0f", after[l], l, c)
		}
		if c > 0 && t.load[l] > c*(1+Tolerance) {
			return fmt.Errorf("transition: the old allocation puts %.0f bps on link %d, which carries %.0f", t.load[l], l, c)
		}
	}
	return nil
}

// done reports whether every flow is at its goal.
func (t *transition) done() bool {
	for _, f := range t.flows {
		if f.now != f.goal {
			return false
		}
	}
	return true
}

// apply ends a step.
func (t *transition) apply(changes []Change, flows []*moving, dips bool) {
	if len(changes) == 0 {
		return
	}
	for i, f := range flows {
		for _, l := range f.path {
			t.load[l] += changes[i].To - f.now
		}
		f.now = changes[i].To
	}
	t.steps = append(t.steps, Step{changes, dips})
}

// abandon gives up what runs over failed links and what belongs to nobody any more.
func (t *transition) abandon() {
	var changes []Change
	var flows []*moving
	for _, f := range t.flows {
		dead := f.demand < 0
		for _, l := range f.path {
			dead = dead || t.capacity[l] == 0
		}
		if dead && f.now > 0 {
			f.goal = 0
			changes = append(changes, Change{f.demand, f.path, f.now, 0})
			flows = append(flows, f)
		}
	}
	t.apply(changes, flows, false)
}

// make raises flows towards their goals as far as there is room.
func (t *transition) make() {
	room := make([]float64, len(t.load))
	for l := range room {
		room[l] = t.capacity[l] - t.load[l]
	}
	var changes []Change
	var flows []*moving
	for _, f := range t.flows {
		if f.now >= f.goal {
			continue
		}
		step := f.goal - f.now
		for _, l := range f.path {
			// Both allocations fit up to Tolerance, so the last hair is not waited for.
			step = math.Min(step, room[l]+t.capacity[l]*Tolerance)
		}
		if step < f.goal-f.now && step < 1e-3*f.goal {
			continue
		}
		to := f.now + step
		if step == f.goal-f.now {
			to = f.goal
		}
		for _, l := range f.path {
			room[l] -= step
		}
		changes = append(changes, Change{f.demand, f.path, f.now, to})
		flows = append(flows, f)
	}
	t.apply(changes, flows, false)
}

// release lowers flows above their goals, each demand by no more than it can spare
// and still have the lesser of its old and its new total.
func (t *transition) release() {
	total, goal := map[int32]float64{}, map[int32]float64{}
	for _, f := range t.flows {
		total[f.demand] += f.now
		goal[f.demand] += f.goal
	}
	floor := map[int32]float64{}
	for d, g := range goal {
		floor[d] = math.Min(g, t.first[d])
	}
	var changes []Change
	var flows []*moving
	for _, f := range t.flows {
		if f.now <= f.goal {
			continue
		}
		drop := math.Min(f.now-f.goal, total[f.demand]-floor[f.demand])
		if drop < f.now-f.goal && drop <= 1e-9*f.now {
			continue
		}
		to := f.now - drop
		if drop == f.now-f.goal {
			to = f.goal
		}
		total[f.demand] -= drop
		changes = append(changes, Change{f.demand, f.path, f.now, to})
		flows = append(flows, f)
	}
	t.apply(changes, flows, false)
}

// stepBack lowers every flow above its goal by a part of the difference, to make
// room where there is none.
func (t *transition) stepBack(part float64) {
	var changes []Change
	var flows []*moving
	for _, f := range t.flows {
		if f.now > f.goal {
			to := f.now - part*(f.now-f.goal)
			if part == 1 {
				to = f.goal
			}
			changes = append(changes, Change{f.demand, f.path, f.now, to})
			flows = append(flows, f)
		}
	}
	t.apply(changes, flows, true)
}
