// Instances: a network and everyone's wishes, and the reader of te-instance/1.

package solve

import (
	"fmt"
	"math"
	"slices"

	"dssn"
	"dssn/topology"
	"dssn/topology/internal/strictjson"
)

// InstanceFormat is the name of the instance file format.
const InstanceFormat = "te-instance/1"

// MaxDemands bounds what readers accept.
const MaxDemands = 1 << 26

// Demands are columns of equal length: demand i asks for up to Rate[i] from
// Src[i] to Dst[i].
type Demands struct {
	Src, Dst []int32          // node indexes, not equal
	Rate     []dssn.Bandwidth // the most the demand can use, > 0
	Weight   []float64        // share under max-min, > 0
	Class    []int32          // 0 is the most urgent
	// Committed is what a demand has been promised, at most its Rate: max-min serves
	// promises before anything else. The column is nil where nobody was promised anything.
	Committed []dssn.Bandwidth
	// MaxLatencyMicros bounds the paths of a demand; NoLatencyBound where it does
	// not. The column is nil where no demand has a bound.
	MaxLatencyMicros []int64
}

// NoLatencyBound stands in Demands.MaxLatencyMicros for a demand without a bound.
const NoLatencyBound = int64(math.MaxInt64)

// Len returns the number of demands.
func (d *Demands) Len() int { return len(d.Src) }

// Add appends one demand without a latency bound.
func (d *Demands) Add(src, dst int, rate dssn.Bandwidth, weight float64, class int32) {
	d.Src, d.Dst = append(d.Src, int32(src)), append(d.Dst, int32(dst))
	d.Rate, d.Weight, d.Class = append(d.Rate, rate), append(d.Weight, weight), append(d.Class, class)
	if d.Committed != nil {
		d.Committed = append(d.Committed, 0)
	}
	if d.MaxLatencyMicros != nil {
		d.MaxLatencyMicros = append(d.MaxLatencyMicros, NoLatencyBound)
	}
}

// Instance is one question to the solver.
type Instance struct {
	Name    string
	Graph   *topology.Graph
	Demands Demands
}

// Check returns one sentence that names the first element that makes no sense.
func (in *Instance) Check() error {
	d, n := &in.Demands, in.Graph.NumNodes()
	m := d.Len()
	if len(d.Dst) != m || len(d.Rate) != m || len(d.Weight) != m || len(d.Class) != m || d.Committed != nil && len(d.Committed) != m || d.MaxLatencyMicros != nil && len(d.MaxLatencyMicros) != m {
		return fmt.Errorf("the demands' columns have different lengths: %d sources, %d destinations, %d rates, %d weights, %d classes", m, len(d.Dst), len(d.Rate), len(d.Weight), len(d.Class))
	}
	if m > MaxDemands {
		return fmt.Errorf("there are %d demands: at most %d are supported", m, MaxDemands)
	}
	for i := range m {
		s, t := d.Src[i], d.Dst[i]
		switch {
		case s < 0 || int(s) >= n || t < 0 || int(t) >= n:
			return fmt.Errorf("demand %d runs from node %d to node %d, but there are only nodes 0 to %d", i, s, t, n-1)
		case s == t:
			return fmt.Errorf("demand %d runs from %q to itself", i, in.Graph.NodeLabel(int(s)))
		case d.Rate[i] == 0 || d.Rate[i] > topology.MaxCapacity:
			return fmt.Errorf("demand %d asks for %d bps: it must be between 1 and %d", i, uint64(d.Rate[i]), uint64(topology.MaxCapacity))
		case !(d.Weight[i] >= 1e-9 && d.Weight[i] <= 1e9):
			return fmt.Errorf("demand %d has weight %g: it must be between 1e-9 and 1e9", i, d.Weight[i])
		case d.Class[i] < 0:
			return fmt.Errorf("demand %d has class %d: it must not be negative", i, d.Class[i])
		case d.Committed != nil && d.Committed[i] > d.Rate[i]:
			return fmt.Errorf("demand %d asks for %d bps but is committed %d: the committed rate must not be greater", i, uint64(d.Rate[i]), uint64(d.Committed[i]))
		case d.MaxLatencyMicros != nil && d.MaxLatencyMicros[i] < 0:
			return fmt.Errorf("demand %d has latency bound %d us: it must not be negative", i, d.MaxLatencyMicros[i])
		}
	}
	return nil
}

// ReadInstance reads a te-instance/1 text (../../shared/te/README.md): the nodes
// and links of a te-topology/1 and "demands" as columns src, dst, bps, weight,
// class and, optionally, max_latency_us (integers or null). One column is ours alone:
// committed_bps, what each demand has been promised. Anything else is
// refused by one sentence that names the element.
func ReadInstance(text []byte) (*Instance, error) {
	r := strictjson.New(text)
	in := &Instance{}
	var format, source, licence string
	var nodes []topology.Node
	var links []topology.Link
	demands := false
	r.Object("the instance", func(key string) error {
		switch key {
		case "format":
			format = r.String("format")
		case "name":
			in.Name = r.String("name")
		case "source":
			source = r.String("source")
		case "licence":
			licence = r.String("licence")
		case "nodes":
			nodes = topology.ReadNodes(r)
		case "links":
			links = topology.ReadLinks(r, false)
		case "demands":
			demands = true
			in.Demands = readDemands(r)
		default:
			return r.Unknown("the instance", key)
		}
		return r.Err()
	})
	if err := r.End(); err != nil {
		return nil, err
	}
	if format != InstanceFormat {
		return nil, fmt.Errorf("the format is %q, not %q", format, InstanceFormat)
	}
	if !demands {
		return nil, fmt.Errorf("the instance has no demands: add a \"demands\" object of columns")
	}
	g, err := topology.Build(in.Name, nodes, links)
	if err != nil {
		return nil, err
	}
	g.Source, g.Licence = source, licence
	in.Graph = g
	if err := in.Check(); err != nil {
		return nil, err
	}
	return in, nil
}

// ReadDemands reads the columns of a "demands" object standing alone, for g.
func ReadDemands(text []byte, g *topology.Graph) (*Instance, error) {
	r := strictjson.New(text)
	in := &Instance{Name: g.Name, Graph: g, Demands: readDemands(r)}
	if err := r.End(); err != nil {
		return nil, err
	}
	if err := in.Check(); err != nil {
		return nil, err
	}
	return in, nil
}

func readDemands(r *strictjson.Reader) (d Demands) {
	columns := 0
	r.Object("demands", func(key string) error {
		columns++
		switch key {
		case "src":
			d.Src = readColumn(r, key, func(what string) int32 { return clampIndex(r.Int(what)) })
		case "dst":
			d.Dst = readColumn(r, key, func(what string) int32 { return clampIndex(r.Int(what)) })
		case "bps":
			// A negative rate becomes 0, which Check refuses.
			d.Rate = readColumn(r, key, func(what string) dssn.Bandwidth { return dssn.Bandwidth(max(r.Int(what), 0)) })
		case "weight":
			d.Weight = readColumn(r, key, r.Float)
		case "class":
			d.Class = readColumn(r, key, func(what string) int32 { return clampIndex(r.Int(what)) })
		case "committed_bps":
			columns--
			d.Committed = readColumn(r, key, func(what string) dssn.Bandwidth {
				v := r.Int(what)
				if v < 0 {
					r.Fail("%s is %d: it must not be negative", what, v)
				}
				return dssn.Bandwidth(v)
			})
			if d.Committed == nil {
				d.Committed = []dssn.Bandwidth{}
			}
		case "max_latency_us":
			columns--
			d.MaxLatencyMicros = readColumn(r, key, func(what string) int64 {
				if r.Null() {
					return NoLatencyBound
				}
				return r.Int(what)
			})
			if d.MaxLatencyMicros == nil {
				d.MaxLatencyMicros = []int64{}
			}
			if len(d.MaxLatencyMicros) > 0 && !slices.ContainsFunc(d.MaxLatencyMicros, func(v int64) bool { return v != NoLatencyBound }) {
				d.MaxLatencyMicros = nil
			}
		default:
			return r.Unknown("demands", key)
		}
		return r.Err()
	})
	if r.Err() == nil && columns < 5 {
		r.Fail("demands lacks one of src, dst, bps, weight and class")
	}
	return d
}

func readColumn[T any](r *strictjson.Reader, key string, read func(what string) T) (column []T) {
	what := "demands." + key
	r.Array(what, func(i int) error {
		if i >= MaxDemands {
			return fmt.Errorf("%s has more than %d entries", what, MaxDemands)
		}
		before := r.Err()
		column = append(column, read(what))
		if before == nil && r.Err() != nil {
			return fmt.Errorf("demand %d: %w", i, r.Err())
		}
		return r.Err()
	})
	return column
}

// clampIndex keeps a number that 32 bits cannot hold from wrapping into a valid one.
func clampIndex(v int64) int32 {
	if v < 0 || v > math.MaxInt32 {
		return -1
	}
	return int32(v)
}
