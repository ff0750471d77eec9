// Writing topologies: JSON, GraphML and Graphviz.

package topology

import (
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// AppendJSONString appends s as a JSON string.
func AppendJSONString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < 0x20 || r == utf8.RuneError && n == 1:
			b = append(b, fmt.Sprintf(`\u%04x`, r)...)
		default:
			b = append(b, s[i:i+n]...)
		}
		i += n
	}
	return append(b, '"')
}

// AppendJSON appends the graph as te-topology/1, which Read reads back to the
// same graph; down links are a state, not a property, and are written as drained.
func (g *Graph) AppendJSON(b []byte) []byte {
	b = append(b, `{"format":"`+Format+`","name":`...)
	b = AppendJSONString(b, g.Name)
	if g.Source != "" {
		b = AppendJSONString(append(b, `,"source":`...), g.Source)
	}
	if g.Licence != "" {
		b = AppendJSONString(append(b, `,"licence":`...), g.Licence)
	}
	b = append(b, `,"nodes":[`...)
	for i, n := range g.nodes {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendJSONString(append(b, "\n{\"name\":"...), n.Name)
		if n.Located {
			b = strconv.AppendFloat(append(b, `,"lat":`...), n.Lat, 'g', -1, 64)
			b = strconv.AppendFloat(append(b, `,"lon":`...), n.Lon, 'g', -1, 64)
		}
		if n.SID != 0 {
			b = append(b, `,"sid":"`+n.SID.String()+`"`...)
		}
		b = append(b, '}')
	}
	b = append(b, "],\n\"links\":["...)
	for i, l := range g.links {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, fmt.Sprintf("\n{\"src\":%d,\"dst\":%d,\"bps\":%d,\"latency_us\":%d", l.Src, l.Dst, uint64(l.Capacity), l.LatencyMicros)...)
		if len(l.SRLGs) > 0 {
			b = append(b, `,"srlg":[`...)
			for k, s := range l.SRLGs {
				if k > 0 {
					b = append(b, ',')
				}
				b = strconv.AppendUint(b, uint64(s), 10)
			}
			b = append(b, ']')
		}
		if !l.Usable() {
			b = append(b, `,"drained":true`...)
		}
		if l.Wire != "" {
			b = AppendJSONString(append(b, `,"wire":`...), l.Wire)
		}
		b = append(b, '}')
	}
	return append(b, "]}\n"...)
}

// AppendGraphML appends the graph as GraphML with directed edges; keys carry the
// Topology Zoo's names where it has them (label, Latitude, Longitude).
func (g *Graph) AppendGraphML(b []byte) []byte {
	b = append(b, `<?xml version="1.0" encoding="utf-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
  <key id="label" for="node" attr.name="label" attr.type="string"/>
  <key id="lat" for="node" attr.name="Latitude" attr.type="double"/>
  <key id="lon" for="node" attr.name="Longitude" attr.type="double"/>
  <key id="bps" for="edge" attr.name="LinkSpeedRaw" attr.type="double"/>
  <key id="us" for="edge" attr.name="LatencyMicros" attr.type="long"/>
  <graph edgedefault="directed">
`...)
	for i, n := range g.nodes {
		b = append(b, fmt.Sprintf("    <node id=\"%d\"><data key=\"label\">%s</data>", i, escapeXML(n.Name))...)
		if n.Located {
			b = append(b, fmt.Sprintf(`<data key="lat">%g</data><data key="lon">%g</data>`, n.Lat, n.Lon)...)
		}
		b = append(b, "</node>\n"...)
	}
	for _, l := range g.links {
		b = append(b, fmt.Sprintf("    <edge source=\"%d\" target=\"%d\"><data key=\"bps\">%d</data><data key=\"us\">%d</data></edge>\n", l.Src, l.Dst, uint64(l.Capacity), l.LatencyMicros)...)
	}
	return append(b, "  </graph>\n</graphml>\n"...)
}

func escapeXML(s string) string {
	var b strings.Builder
	// EscapeText fails only where its writer does, and a Builder never does.
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}

// AppendDOT appends the graph in Graphviz's language, one arrow per link,
// labelled with its capacity.
func (g *Graph) AppendDOT(b []byte) []byte {
	b = append(b, "digraph "...)
	b = append(AppendJSONString(b, g.Name), " {\n"...)
	for i, n := range g.nodes {
		b = append(b, fmt.Sprintf("  n%d [label=", i)...)
		b = AppendJSONString(b, g.NodeLabel(i))
		if n.Located {
			b = append(b, fmt.Sprintf(", pos=\"%g,%g!\"", n.Lon, n.Lat)...)
		}
		b = append(b, "];\n"...)
	}
	for _, l := range g.links {
		b = append(b, fmt.Sprintf("  n%d -> n%d [label=\"%s\"", l.Src, l.Dst, l.Capacity)...)
		if !l.Usable() {
			b = append(b, ", style=dashed"...)
		}
		b = append(b, "];\n"...)
	}
	return append(b, "}\n"...)
}
