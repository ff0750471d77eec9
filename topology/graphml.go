// Reading GraphML as the Internet Topology Zoo writes it.

package topology

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strconv"

	"dssn"
)

// What GraphML files mostly do not say.
const (
	defaultCapacity  = 100 * dssn.Gbps
	minLatencyMicros = 20
)

// ReadAny reads te-topology/1 or GraphML, whichever the text begins like.
func ReadAny(text []byte) (*Graph, error) {
	if t := bytes.TrimLeft(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), " \t\r\n"); len(t) > 0 && t[0] == '<' {
		return ReadGraphML(text)
	}
	return Read(text)
}

// ReadGraphML reads a GraphML graph with the Topology Zoo's keys: label, Latitude
// and Longitude on nodes, LinkSpeedRaw (bits per second) and, from our own writer,
// LatencyMicros on edges. An undirected edge becomes two links; parallel edges, of
// which a Graph has none, become one link with the capacity of all and the longest latency of
// any; an edge from a node to itself is refused. Where an edge has no speed it gets 100 Gbit/s; where it
// has no latency it gets that of the great circle times 1.3 at 200 km/ms, at least 20 µs.
func ReadGraphML(text []byte) (*Graph, error) {
	p := graphML{d: xml.NewDecoder(bytes.NewReader(text)), keys: map[string]string{}, index: map[string]int{}, between: map[[2]int]int{}}
	// The file's declared character set is taken as it comes; only ASCII matters to names of keys.
	p.d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	for {
		token, err := p.d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read GraphML: %w", err)
		}
		if start, ok := token.(xml.StartElement); ok {
			if err := p.element(start); err != nil {
				return nil, err
			}
		}
	}
	for i := range p.links {
		l := &p.links[i]
		if l.LatencyMicros < 0 {
			l.LatencyMicros = greatCircle(p.nodes[l.Src], p.nodes[l.Dst])
		}
	}
	return Build(p.name, p.nodes, p.links)
}

type graphML struct {
	d        *xml.Decoder
	keys     map[string]string // id → attr.name
	name     string
	directed bool
	nodes    []Node
	index    map[string]int
	links    []Link
	edges    int
	between  map[[2]int]int // link by its ends
}

func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func (p *graphML) element(e xml.StartElement) error {
	switch e.Name.Local {
	case "key":
		p.keys[attribute(e, "id")] = attribute(e, "attr.name")
	case "graph":
		p.directed = attribute(e, "edgedefault") == "directed"
	case "node":
		return p.node(e)
	case "edge":
		return p.edge(e)
	case "data":
		var s string
		if err := p.d.DecodeElement(&s, &e); err != nil {
			return fmt.Errorf("read GraphML: %w", err)
		}
		if p.keys[attribute(e, "key")] == "Network" {
			p.name = s
		}
	}
	return nil
}

// data reads the data elements of a node or edge, by the names of their keys.
func (p *graphML) data(what string) (map[string]string, error) {
	out := map[string]string{}
	for {
		token, err := p.d.Token()
		if err != nil {
			return nil, fmt.Errorf("read GraphML: %s: %w", what, err)
		}
		switch t := token.(type) {
		case xml.EndElement:
			return out, nil
		case xml.StartElement:
			var s string
			if err := p.d.DecodeElement(&s, &t); err != nil {
				return nil, fmt.Errorf("read GraphML: %s: %w", what, err)
			}
			out[p.keys[attribute(t, "key")]] = s
		}
	}
}

func (p *graphML) node(e xml.StartElement) error {
	id := attribute(e, "id")
	data, err := p.data("node " + id)
	if err != nil {
		return err
	}
	if _, dup := p.index[id]; dup || id == "" {
		return fmt.Errorf("node %q occurs twice or has no id", id)
	}
	if len(p.nodes) >= MaxNodes {
		return fmt.Errorf("there are more than %d nodes", MaxNodes)
	}
	n := Node{Name: data["label"]}
	if n.Name == "" {
		n.Name = id
	}
	if lat, lon := data["Latitude"], data["Longitude"]; lat != "" && lon != "" {
		var errLat, errLon error
		n.Lat, errLat = strconv.ParseFloat(lat, 64)
		n.Lon, errLon = strconv.ParseFloat(lon, 64)
		if errLat != nil || errLon != nil {
			return fmt.Errorf("node %q lies at %q, %q, which are not numbers", n.Name, lat, lon)
		}
		n.Located = true
	}
	p.index[id] = len(p.nodes)
	p.nodes = append(p.nodes, n)
	return nil
}

func (p *graphML) edge(e xml.StartElement) error {
	what := fmt.Sprintf("edge %d", p.edges)
	p.edges++
	data, err := p.data(what)
	if err != nil {
		return err
	}
	src, ok := p.index[attribute(e, "source")]
	dst, ok2 := p.index[attribute(e, "target")]
	if !ok || !ok2 {
		return fmt.Errorf("%s joins %q and %q, of which one is not a node", what, attribute(e, "source"), attribute(e, "target"))
	}
	if src == dst {
		return fmt.Errorf("%s leads from node %q to itself: remove it, no traffic can use it", what, p.nodes[src].Name)
	}
	l := Link{Src: src, Dst: dst, Capacity: defaultCapacity, LatencyMicros: -1}
	if s := data["LinkSpeedRaw"]; s != "" {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil || !(v >= 1 && v <= float64(MaxCapacity)) {
			return fmt.Errorf("%s has speed %q: it must be between 1 and %d bps", what, s, uint64(MaxCapacity))
		}
		l.Capacity = dssn.Bandwidth(v)
	}
	if s := data["LatencyMicros"]; s != "" {
		if l.LatencyMicros, err = strconv.ParseInt(s, 10, 64); err != nil || l.LatencyMicros < 0 {
			return fmt.Errorf("%s has latency %q: it must be a number of microseconds", what, s)
		}
	}
	p.add(l)
	if directed := attribute(e, "directed"); directed == "false" || directed == "" && !p.directed {
		l.Src, l.Dst = l.Dst, l.Src
		p.add(l)
	}
	return nil
}

func (p *graphML) add(l Link) {
	ends := [2]int{l.Src, l.Dst}
	i, parallel := p.between[ends]
	if !parallel {
		p.between[ends] = len(p.links)
		p.links = append(p.links, l)
		return
	}
	if p.links[i].Capacity <= MaxCapacity { // beyond it Build refuses the link, whatever more there is
		p.links[i].Capacity += l.Capacity
	}
	p.links[i].LatencyMicros = max(p.links[i].LatencyMicros, l.LatencyMicros)
}

// greatCircle is the latency of a fibre between two places.
func greatCircle(a, b Node) int64 {
	if !a.Located || !b.Located {
		return minLatencyMicros
	}
	rad := math.Pi / 180
	h := math.Pow(math.Sin((b.Lat-a.Lat)*rad/2), 2) + math.Cos(a.Lat*rad)*math.Cos(b.Lat*rad)*math.Pow(math.Sin((b.Lon-a.Lon)*rad/2), 2)
	km := 2 * 6371 * math.Asin(math.Min(1, math.Sqrt(h)))
	us := math.Round(km * 1.3 / 200 * 1000)
	if math.IsNaN(us) {
		return minLatencyMicros
	}
	return max(minLatencyMicros, int64(us))
}
