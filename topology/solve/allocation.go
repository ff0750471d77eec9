// Allocations: the answer, with its proof, and te-allocation/1.

package solve

import (
	"fmt"
	"strconv"

	"dssn/topology"
	"dssn/topology/internal/strictjson"
)

// AllocationFormat is the name of the allocation file format.
const AllocationFormat = "te-allocation/1"

// Objective says what an allocation is to make large.
type Objective uint8

// The objectives: the total rate, the least fraction of its wish that any demand
// gets, or weighted max-min fairness.
const (
	MaxFlow Objective = iota
	MaxLambda
	MaxMinFair
)

var objectiveNames = []string{"flow", "lambda", "maxmin"}

// String returns the name that ParseObjective reads.
func (o Objective) String() string {
	if int(o) < len(objectiveNames) {
		return objectiveNames[o]
	}
	return fmt.Sprintf("objective(%d)", uint8(o))
}

// ParseObjective reads flow, lambda or maxmin.
func ParseObjective(s string) (Objective, error) {
	for i, n := range objectiveNames {
		if n == s {
			return Objective(i), nil
		}
	}
	return 0, fmt.Errorf("%q is not an objective: use flow, lambda or maxmin", s)
}

// Flow is a rate of one demand over one path.
type Flow struct {
	Demand int32
	Rate   float64 // bits per second
	Path   []int32 // link indexes in travelling order
}

// Level proves the rates of the demands that stand at it: see Verify.
type Level struct {
	Rate   float64   // bits per second per unit of weight; in a committed Stage a part of the committed rate
	Prices []float64 // by link
	Stage  Stage
}

// Shortfall is a committed rate that does not fit.
type Shortfall struct {
	Demand    int32
	Committed float64 // bits per second
	Got       float64
	Level     int     // the level whose prices prove it, -1: there is no path at all
	Cut       []int32 // full links, ascending, at least one of which is on every path of the demand
}

// Allocation is an answer.
type Allocation struct {
	Objective Objective
	Flows     []Flow
	Prices    []float64 // the proof for MaxFlow and MaxLambda, by link
	Levels    []Level   // the proof for MaxMinFair
	// Short lists the committed rates that do not fit, the greatest shortfall first.
	Short []Shortfall
	// Value and Bound are what the solver claims: bits per second for MaxFlow, a
	// factor for MaxLambda, the least rate per weight for MaxMinFair (where Bound
	// equals Value). Verify does not look at them.
	Value, Bound float64
	// Unserved counts the demands that no path can reach.
	Unserved   int
	Rounds     int // of pricing
	Iterations int // of the master, or moves of demands in sweeps
}

// Gap returns the relative distance between Value and Bound.
func (a *Allocation) Gap() float64 {
	if a.Bound <= 0 {
		return 0
	}
	return (a.Bound - a.Value) / a.Bound
}

// Rates sums the flows of every demand.
func (a *Allocation) Rates(demands int) []float64 {
	r := make([]float64, demands)
	for _, f := range a.Flows {
		r[f.Demand] += f.Rate
	}
	return r
}

// Loads sums the flows on every link.
func (a *Allocation) Loads(links int) []float64 {
	l := make([]float64, links)
	for _, f := range a.Flows {
		for _, e := range f.Path {
			l[e] += f.Rate
		}
	}
	return l
}

// AppendJSON appends the allocation as te-allocation/1 for the named instance. Levels
// of a stage carry it as "stage", which is ours alone.
func (a *Allocation) AppendJSON(b []byte, instance string) []byte {
	b = append(b, `{"format":"`+AllocationFormat+`","objective":"`+a.Objective.String()+`","solver":"dssn","instance":`...)
	b = topology.AppendJSONString(b, instance)
	b = append(b, `,"flows":[`...)
	for i, f := range a.Flows {
		if i > 0 {
			b = append(b, ",\n"...)
		}
		b = append(b, '[')
		b = strconv.AppendInt(b, int64(f.Demand), 10)
		b = append(b, ',')
		b = strconv.AppendFloat(b, f.Rate, 'g', -1, 64)
		b = append(b, ",["...)
		for k, e := range f.Path {
			if k > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, int64(e), 10)
		}
		b = append(b, "]]"...)
	}
	b = append(b, ']')
	if a.Prices != nil {
		b = append(b, ",\n\"prices\":"...)
		b = appendFloats(b, a.Prices)
	}
	if a.Objective == MaxMinFair {
		b = append(b, ",\n\"levels\":["...)
		for i, l := range a.Levels {
			if i > 0 {
				b = append(b, ",\n"...)
			}
			b = append(b, `{"rate":`...)
			b = strconv.AppendFloat(b, l.Rate, 'g', -1, 64)
			if l.Stage != (Stage{}) {
				b = append(b, `,"stage":`...)
				b = topology.AppendJSONString(b, l.Stage.String())
			}
			b = append(b, `,"prices":`...)
			b = append(appendFloats(b, l.Prices), '}')
		}
		b = append(b, ']')
	}
	return append(b, "}\n"...)
}

func appendFloats(b []byte, v []float64) []byte {
	b = append(b, '[')
	for i, x := range v {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendFloat(b, x, 'g', -1, 64)
	}
	return append(b, ']')
}

// ReadAllocation reads a te-allocation/1 text. instance is the name of the
// instance it was made for, empty where it does not say. Nothing but the form is
// checked: Verify does the rest.
func ReadAllocation(text []byte) (a *Allocation, instance string, err error) {
	r := strictjson.New(text)
	a = &Allocation{}
	var format string
	flows := false
	r.Object("the allocation", func(key string) error {
		switch key {
		case "format":
			format = r.String(key)
		case "instance":
			instance = r.String(key)
		case "solver":
			r.String(key)
		case "seconds":
			r.Float(key)
		case "objective":
			s := r.String(key)
			if r.Err() == nil {
				o, err := ParseObjective(s)
				a.Objective = o
				return err
			}
		case "flows":
			flows = true
			a.Flows = readFlows(r)
		case "prices":
			a.Prices = readColumn(r, key, r.Float)
		case "levels":
			r.Array(key, func(i int) error {
				what := fmt.Sprintf("level %d", i)
				var l Level
				err := r.Object(what, func(key string) error {
					switch key {
					case "rate":
						l.Rate = r.Float(what + ": rate")
					case "prices":
						l.Prices = readColumn(r, "prices", r.Float)
					case "stage":
						text := r.String(what + ": stage")
						if r.Err() == nil {
							var err error
							if l.Stage, err = parseStage(text); err != nil {
								return fmt.Errorf("%s: %w", what, err)
							}
						}
					default:
						return r.Unknown(what, key)
					}
					return r.Err()
				})
				a.Levels = append(a.Levels, l)
				return err
			})
		default:
			return r.Unknown("the allocation", key)
		}
		return r.Err()
	})
	if err := r.End(); err != nil {
		return nil, "", err
	}
	if format != AllocationFormat || !flows {
		return nil, "", fmt.Errorf("the format is %q, not %q, or there are no flows", format, AllocationFormat)
	}
	return a, instance, nil
}

func readFlows(r *strictjson.Reader) (flows []Flow) {
	r.Array("flows", func(i int) error {
		if i >= MaxDemands {
			return fmt.Errorf("there are more than %d flows", MaxDemands)
		}
		var f Flow
		parts := 0
		err := r.Array("flow", func(k int) error {
			parts++
			switch k {
			case 0:
				f.Demand = clampIndex(r.Int("flow: demand"))
			case 1:
				f.Rate = r.Float("flow: bps")
			case 2:
				r.Array("flow: path", func(int) error {
					f.Path = append(f.Path, clampIndex(r.Int("flow: link")))
					return r.Err()
				})
			default:
				return fmt.Errorf("flow %d has more than demand, bps and links", i)
			}
			return r.Err()
		})
		if err == nil && parts != 3 {
			return fmt.Errorf("flow %d is not [demand, bps, [links]]", i)
		}
		flows = append(flows, f)
		return err
	})
	return flows
}
