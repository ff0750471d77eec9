package controller

import (
	"bytes"
	"fmt"
	"net/http"
	"sync/atomic"

	"dssn/controller/core"
	"dssn/controller/northbound"
	"dssn/controller/northbound/camara"
	"dssn/controller/southbound"
)

// counters are what the engine counts of itself. They only grow.
type counters struct {
	inputs, refused, batches, snapshots, reports, forged atomic.Uint64
}

// metric is one line of the catalogue below, with its values.
type metric struct {
	name, kind, help string
	values           func(*measured) []sample
}

type sample struct {
	labels string // `state="up"`, or empty
	value  float64
}

// measured is one look at everything.
type measured struct {
	status    northbound.Status
	states    map[northbound.ReservationState]int
	transfer  map[northbound.TransferState]int
	counters  *counters
	published int64
	witnesses [2]int // asked, and of those failing
	sessions  map[camara.Status]int
	notices   int
}

func one(v float64) []sample { return []sample{{"", v}} }

func count[K ~string](m map[K]int, label string, keys ...K) (out []sample) {
	for _, k := range keys {
		out = append(out, sample{fmt.Sprintf("%s=%q", label, string(k)), float64(m[k])})
	}
	return out
}

func perLink(value func(northbound.Link) float64) func(*measured) []sample {
	return func(m *measured) (out []sample) {
		for _, l := range m.status.Links {
			out = append(out, sample{fmt.Sprintf("from=%q,to=%q", l.From, l.To), value(l)})
		}
		return out
	}
}

// perHop is a figure of each reservation at each node that meters it on its way.
func perHop(value func(southbound.TransitCount) uint64) func(*measured) []sample {
	return func(m *measured) (out []sample) {
		for _, n := range m.status.Nodes {
			for _, c := range n.Transit {
				out = append(out, sample{fmt.Sprintf("node=%q,reservation=%q", n.Name, c.Reservation.String()), float64(value(c))})
			}
		}
		return out
	}
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// metrics is the catalogue of what /metrics says, in the Prometheus text format
// (version 0.0.4). Names and meanings are kept; new ones are added.
var metrics = []metric{
	{"dssn_controller_journal_entries_total", "counter", "Entries of the journal.", func(m *measured) []sample { return one(float64(m.status.Journal)) }},
	{"dssn_controller_evidence_leaves_total", "counter", "Leaves of the evidence log.", func(m *measured) []sample { return one(float64(m.status.LogSize)) }},
	{"dssn_controller_inputs_total", "counter", "Inputs taken since the start.", func(m *measured) []sample { return one(float64(m.counters.inputs.Load())) }},
	{"dssn_controller_refusals_total", "counter", "Inputs refused since the start.", func(m *measured) []sample { return one(float64(m.counters.refused.Load())) }},
	{"dssn_controller_commits_total", "counter", "Transactions of the journal since the start.", func(m *measured) []sample { return one(float64(m.counters.batches.Load())) }},
	{"dssn_controller_snapshots_total", "counter", "Snapshots saved since the start.", func(m *measured) []sample { return one(float64(m.counters.snapshots.Load())) }},
	{"dssn_controller_usage_reports_total", "counter", "Usage reports of nodes made durable since the start.", func(m *measured) []sample { return one(float64(m.counters.reports.Load())) }},
	{"dssn_controller_forged_reports_total", "counter", "Usage reports with a signature that was not the node's, since the start.", func(m *measured) []sample { return one(float64(m.counters.forged.Load())) }},
	{"dssn_controller_evidence_published_leaves", "gauge", "Leaves under the checkpoint that is served; behind the leaves' total while witnesses are asked.", func(m *measured) []sample { return one(float64(m.published)) }},
	{"dssn_controller_witnesses", "gauge", "Witnesses of the evidence log by whether they cosigned when they were asked last.", func(m *measured) []sample {
		return []sample{{`cosigning="true"`, float64(m.witnesses[0] - m.witnesses[1])}, {`cosigning="false"`, float64(m.witnesses[1])}}
	}},
	{"dssn_nodes", "gauge", "Nodes by whether their stream is up.", func(m *measured) []sample {
		up := 0
		for _, n := range m.status.Nodes {
			if n.Connected {
				up++
			}
		}
		return []sample{{`connected="true"`, float64(up)}, {`connected="false"`, float64(len(m.status.Nodes) - up)}}
	}},
	{"dssn_nodes_behind", "gauge", "Connected nodes that do not act on their newest assignment yet.", func(m *measured) []sample {
		behind := 0
		for _, n := range m.status.Nodes {
			if n.Connected && n.Applied < n.Issued {
				behind++
			}
		}
		return one(float64(behind))
	}},
	{"dssn_institutions", "gauge", "Registered institutions.", func(m *measured) []sample { return one(float64(len(m.status.Institutions))) }},
	{"dssn_datasets", "gauge", "Datasets of the catalogue.", func(m *measured) []sample { return one(float64(m.status.Datasets)) }},
	{"dssn_grants", "gauge", "Grants in force.", func(m *measured) []sample { return one(float64(m.status.Grants)) }},
	{"dssn_reservations", "gauge", "Explicit reservations by state.", func(m *measured) []sample {
		return count(m.states, "state", northbound.StateHeld, northbound.StateReserved, northbound.StateActive, northbound.StateDegraded, northbound.StateTerminated)
	}},
	{"dssn_transfers", "gauge", "Transfers by state.", func(m *measured) []sample {
		return count(m.transfer, "state", northbound.TransferRunning, northbound.TransferSettled, northbound.TransferDisputed, northbound.TransferOneSided)
	}},
	{"dssn_sessions", "gauge", "CAMARA's sessions by status.", func(m *measured) []sample {
		return count(m.sessions, "status", camara.Requested, camara.Available, camara.Unavailable)
	}},
	{"dssn_notices_waiting", "gauge", "Notifications that their sinks have not taken yet.", func(m *measured) []sample { return one(float64(m.notices)) }},
	{"dssn_link_up", "gauge", "1 where both ends of a link see each other.", perLink(func(l northbound.Link) float64 { return flag(l.Up) })},
	{"dssn_link_capacity_bits_per_second", "gauge", "Capacity of a link, one direction.", perLink(func(l northbound.Link) float64 { return float64(l.Capacity) })},
	{"dssn_link_committed_bits_per_second", "gauge", "Committed rates over a link.", perLink(func(l northbound.Link) float64 { return float64(l.Committed) })},
	{"dssn_link_allocated_bits_per_second", "gauge", "Allocated rates over a link.", perLink(func(l northbound.Link) float64 { return float64(l.Allocated) })},
	{"dssn_transit_packets_total", "counter", "Packets of a reservation that a backbone node on its way metered.", perHop(func(c southbound.TransitCount) uint64 { return c.Packets })},
	{"dssn_transit_bytes_total", "counter", "Bytes of outer IPv6 packets of a reservation that a backbone node on its way metered.", perHop(func(c southbound.TransitCount) uint64 { return c.Bytes })},
	{"dssn_transit_policed_packets_total", "counter", "Of dssn_transit_packets_total, those dropped there, above the ceiling.", perHop(func(c southbound.TransitCount) uint64 { return c.PolicedPackets })},
	{"dssn_transit_foreign_packets_total", "counter", "Packets with a reservation's tag that did not come from its edge.", perHop(func(c southbound.TransitCount) uint64 { return c.ForeignPackets })},
}

// measure looks at everything once.
func (c *Controller) measure() *measured {
	m := &measured{states: map[northbound.ReservationState]int{}, transfer: map[northbound.TransferState]int{}, counters: &c.engine.counters}
	op := northbound.WhoAmI{Operator: true}
	c.engine.query(func(k *core.Core) {
		m.status = k.Status(op)
		m.sessions, m.notices = k.SessionCounts(), len(k.Notices())
		for _, r := range k.Reservations(op) {
			if !r.Implicit {
				m.states[r.State]++
			}
		}
		for _, t := range k.Usage(op).Transfers {
			m.transfer[t.State]++
		}
	})
	for i := range m.status.Nodes {
		n := &m.status.Nodes[i]
		l := c.sessions.get(n.Node)
		n.Connected, n.Applied, n.Transit = l.connected, l.applied.Generation, l.transit
	}
	m.status.Journal, _ = c.engine.journal.Head()
	m.published, m.witnesses = m.status.LogSize, c.witness.count()
	if _, size, err := c.engine.log.Published(); err == nil && c.witness != nil {
		m.published = size
	}
	return m
}

// serveMetrics answers Prometheus. It is on the local socket only, where every
// caller is the operator.
func (c *Controller) serveMetrics(w http.ResponseWriter, _ *http.Request) {
	m := c.measure()
	var b bytes.Buffer
	for _, x := range metrics {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", x.name, x.help, x.name, x.kind)
		for _, s := range x.values(m) {
			if s.labels != "" {
				s.labels = "{" + s.labels + "}"
			}
			fmt.Fprintf(&b, "%s%s %g\n", x.name, s.labels, s.value)
		}
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Write(b.Bytes())
}

// localHandler answers on the operator's socket: /v1, the evidence log, /metrics.
func (c *Controller) localHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", c.serveMetrics)
	mux.Handle("/", c.northbound(identifyOperator))
	return mux
}
