// Reading te-topology/1: strict, one sentence per refusal.

package topology

import (
	"fmt"
	"math"

	"dssn"
	"dssn/topology/internal/strictjson"
)

// Format is the name of the topology file format.
const Format = "te-topology/1"

// Read reads a te-topology/1 text:
//
//	{"format":"te-topology/1", "name":"…", "source":"…", "licence":"…",
//	 "nodes":[{"name":"…", "lat":0.0, "lon":0.0, "sid":"12"}, …],
//	 "links":[{"src":0, "dst":1, "bps":100000000000, "latency_us":350}, …]}
//
// Links are directed. bps (> 0) and latency_us (≥ 0) are integers. name, source,
// licence, lat and lon may be absent. Four optional fields extend the format
// for DSSN's own use: a node's "sid", one to four hexadecimal digits; a link's
// "srlg", a list of shared-risk group numbers; a link's "drained": true; a link's
// "wire", up to 1000 characters that say how a lab shall emulate it.
//
// Unknown or repeated keys, repeated SIDs or links, links to themselves, missing
// names and numbers out of range are refused by one sentence that names the
// element. Names may repeat, as they do in the Topology Zoo.
func Read(text []byte) (*Graph, error) {
	r := strictjson.New(text)
	var format, name, source, licence string
	var nodes []Node
	var links []Link
	r.Object("the topology", func(key string) error {
		switch key {
		case "format":
			format = r.String("format")
		case "name":
			name = r.String("name")
		case "source":
			source = r.String("source")
		case "licence":
			licence = r.String("licence")
		case "nodes":
			nodes = readNodes(r)
		case "links":
			links = ReadLinks(r, true)
		default:
			return r.Unknown("the topology", key)
		}
		return r.Err()
	})
	if err := r.End(); err != nil {
		return nil, err
	}
	if format != Format {
		return nil, fmt.Errorf("the format is %q, not %q", format, Format)
	}
	g, err := Build(name, nodes, links)
	if err != nil {
		return nil, err
	}
	g.Source, g.Licence = source, licence
	return g, nil
}

func readNodes(r *strictjson.Reader) (nodes []Node) {
	r.Array("nodes", func(i int) error {
		if i >= MaxNodes {
			return fmt.Errorf("there are more than %d nodes", MaxNodes)
		}
		n, err := readNode(r, i)
		nodes = append(nodes, n)
		return err
	})
	return nodes
}

func readNode(r *strictjson.Reader, i int) (n Node, err error) {
	what := fmt.Sprintf("node %d", i)
	lat, lon := math.NaN(), math.NaN()
	r.Object(what, func(key string) error {
		switch key {
		case "name":
			n.Name = r.String(what + ": name")
		case "lat":
			lat = r.Float(what + ": lat")
		case "lon":
			lon = r.Float(what + ": lon")
		case "sid":
			s := r.String(what + ": sid")
			if r.Err() == nil {
				if n.SID, err = dssn.ParseSID(s); err != nil {
					return fmt.Errorf("%s: %w", what, err)
				}
			}
		default:
			return r.Unknown(what, key)
		}
		return r.Err()
	})
	if r.Err() != nil {
		return n, r.Err()
	}
	if math.IsNaN(lat) != math.IsNaN(lon) {
		return n, fmt.Errorf("%s has only one of lat and lon: give both or neither", what)
	}
	if !math.IsNaN(lat) {
		n.Lat, n.Lon, n.Located = lat, lon, true
	}
	return n, nil
}

// maxWire bounds a link's wire, in bytes.
const maxWire = 1000

// linkFields is the set of fields every link must have.
const linkFields = 4

// ReadLinks reads the "links" list of te-topology/1 and te-instance/1; the
// optional srlg, drained and wire belong to the former only. It is exported for the
// instance reader in solve; ranges are checked by Build.
func ReadLinks(r *strictjson.Reader, extended bool) (links []Link) {
	r.Array("links", func(i int) error {
		if i >= MaxLinks {
			return fmt.Errorf("there are more than %d links", MaxLinks)
		}
		var l Link
		got := 0
		what := fmt.Sprintf("link %d", i)
		err := r.Object(what, func(key string) error {
			switch {
			case key == "src":
				l.Src = nodeIndex(r.Int(what + ": src"))
				got++
			case key == "dst":
				l.Dst = nodeIndex(r.Int(what + ": dst"))
				got++
			case key == "bps":
				bps := r.Int(what + ": bps")
				if bps < 0 {
					return fmt.Errorf("%s has capacity %d bps: it must be at least 1", what, bps)
				}
				l.Capacity = dssn.Bandwidth(bps)
				got++
			case key == "latency_us":
				l.LatencyMicros = r.Int(what + ": latency_us")
				got++
			case key == "srlg" && extended:
				l.SRLGs = readGroups(r, what)
			case key == "drained" && extended:
				l.Drained = r.Bool(what + ": drained")
			case key == "wire" && extended:
				if l.Wire = r.String(what + ": wire"); len(l.Wire) > maxWire {
					return fmt.Errorf("%s: wire is longer than %d characters", what, maxWire)
				}
			default:
				return r.Unknown(what, key)
			}
			return r.Err()
		})
		if err == nil && got < linkFields {
			return fmt.Errorf("%s lacks one of src, dst, bps and latency_us", what)
		}
		links = append(links, l)
		return err
	})
	return links
}

// nodeIndex keeps an index that int cannot hold from wrapping into a valid one.
func nodeIndex(v int64) int {
	if v < -1 || v > MaxNodes {
		return -1
	}
	return int(v)
}

func readGroups(r *strictjson.Reader, what string) (groups []uint32) {
	r.Array(what+": srlg", func(i int) error {
		v := r.Int(what + ": srlg")
		if r.Err() == nil && (v < 0 || v > math.MaxUint32 || i >= 1024) {
			return fmt.Errorf("%s: shared-risk group %d is out of range (0 to %d, at most 1024 of them)", what, v, uint32(math.MaxUint32))
		}
		groups = append(groups, uint32(v))
		return r.Err()
	})
	return groups
}

// ReadNodes reads the "nodes" list of te-topology/1 and te-instance/1. It is
// exported for the instance reader in solve.
func ReadNodes(r *strictjson.Reader) []Node { return readNodes(r) }
