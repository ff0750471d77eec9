package core_test

import (
	"crypto/ed25519"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"dssn"
	"dssn/content"
	"dssn/controller/core"
	"dssn/controller/northbound"
	"dssn/controller/southbound"
)

// beside returns the four neighbours of hub i in a torus of side × side.
func beside(i, side int) (out []int) {
	at := func(x, y int) int { return (x+side)%side + (y+side)%side*side }
	x, y := i%side, i/side
	return []int{at(x+1, y), at(x-1, y), at(x, y+1), at(x, y-1)}
}

func torus(side int) string {
	var nodes, links []string
	for i := range side * side {
		nodes = append(nodes, fmt.Sprintf(`{"name":"h%d","sid":"%x"}`, i, i+1))
		for _, v := range beside(i, side) {
			links = append(links, fmt.Sprintf(`{"src":%d,"dst":%d,"bps":400000000000,"latency_us":%d}`, i, v, 1000+(i+v)%7))
		}
	}
	return `{"format":"te-topology/1","name":"torus","nodes":[` + strings.Join(nodes, ",") + `],"links":[` + strings.Join(links, ",") + `]}`
}

// wide is a core at scale: hubs in a torus and, spread over them, terminals of
// institutions of ten. The first terminal of each holds a dataset, which up to
// eleven other institutions may reach.
type wide struct {
	c       *core.Core
	data    []dssn.DataID
	readers [][]string // by dataset
	n       uint64
}

func (w *wide) step(tb testing.TB, in core.Input) core.Reply {
	tb.Helper()
	r, _, err := w.c.Step(epoch, in)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func newWide(tb testing.TB, side, terminals int) *wide {
	tb.Helper()
	w := &wide{c: core.New()}
	w.step(tb, core.Input{Configure: &core.Configure{Topology: torus(side), Block: dssn.LabBlock, Operator: netip.MustParsePrefix("3fff:d55::/32"), Secret: seed("s")}})
	join := func(name string, role southbound.Role, inst string) {
		w.step(tb, core.Input{CreateToken: &core.CreateToken{By: operator, ID: name, Hash: seed("t", name), Request: northbound.TokenRequest{Node: name, Role: role, Institution: inst}}})
		w.step(tb, core.Input{Join: &core.Join{Token: name, Hash: seed("t", name), Key: identity(name).Public().(ed25519.PublicKey), TunnelKey: seed("w", name),
			RegistrantKey: signer(inst).Public().(ed25519.PublicKey), Features: southbound.Features{NextCSID: true, CarrierEgress: true}}})
	}
	sees := map[string][]string{}
	for i := range side * side {
		for _, v := range beside(i, side) {
			sees[fmt.Sprint("h", i)] = append(sees[fmt.Sprint("h", i)], fmt.Sprint("h", v))
		}
		join(fmt.Sprint("h", i), southbound.RoleBackbone, "")
	}
	var names, insts []string
	for i := range terminals {
		if i%10 == 0 {
			insts = append(insts, fmt.Sprint("i", i/10))
			w.step(tb, core.Input{AddInstitution: &core.AddInstitution{By: operator, Request: northbound.InstitutionRequest{Name: insts[i/10]}}})
		}
		name, hub := fmt.Sprintf("t%04d", i), fmt.Sprint("h", i*37%(side*side))
		names = append(names, name)
		join(name, southbound.RoleTerminal, insts[i/10])
		sees[hub], sees[name] = append(sees[hub], name), []string{hub}
	}
	order := make([]string, 0, len(sees))
	for name := range sees {
		order = append(order, name)
	}
	slices.Sort(order)
	for _, name := range order {
		a := &core.Adjacencies{Node: name}
		for _, n := range sees[name] {
			a.Links = append(a.Links, southbound.Adjacency{Neighbour: n, Up: true})
		}
		w.step(tb, core.Input{Adjacencies: a})
	}
	prefix := map[string]netip.Prefix{}
	for _, i := range w.c.Institutions() {
		prefix[i.Name] = i.Registrant
	}
	for i, inst := range insts {
		r := content.Record{Name: "of-" + inst, Registrant: prefix[inst], Grade: dssn.GradeGeneral2, Root: content.Hash([]byte(inst)), Length: 1, Files: 1, Created: epoch}
		if err := r.Sign(signer(inst)); err != nil {
			tb.Fatal(err)
		}
		w.step(tb, core.Input{Publish: &core.Publish{By: operator, Holder: names[i*10], Record: r}})
		var readers []string
		for k := 1; k <= min(11, len(insts)-1); k++ {
			to := (i + k) % len(insts)
			w.step(tb, core.Input{Grant: &core.Grant{By: operator, ID: fmt.Sprintf("g%d-%d", i, k), Request: northbound.GrantRequest{Data: r.ID.Prefix(), To: insts[to], Until: epoch.Add(1000 * time.Hour)}}})
			readers = append(readers, names[to*10:min(to*10+10, len(names))]...)
		}
		w.data, w.readers = append(w.data, r.ID), append(w.readers, readers)
	}
	return w
}

// reserve holds and commits for the n-th pair of a dataset and a reader.
func (w *wide) reserve(tb testing.TB) (took time.Duration) {
	d := int(w.n) % len(w.data)
	reader := w.readers[d][int(w.n)/len(w.data)%len(w.readers[d])]
	w.n++
	began := time.Now()
	r := w.step(tb, core.Input{Reserve: &core.Reserve{By: operator, ID: dssn.ReservationID(w.n), Request: northbound.ReservationRequest{Data: w.data[d], Committed: dssn.Mbps, Ceiling: 10 * dssn.Mbps, Class: dssn.ClassElastic, Consumer: reader}}})
	w.step(tb, core.Input{Commit: &core.Commit{By: operator, ID: r.Reservation.ID}})
	return time.Since(began)
}

// BenchmarkWideHoldCommit is the core's part of a hold and its commit where many
// terminals may reach many holders.
func BenchmarkWideHoldCommit(b *testing.B) {
	for _, k := range []struct{ side, terminals int }{{3, 60}, {4, 120}} {
		b.Run(fmt.Sprintf("nodes=%d", k.side*k.side+k.terminals), func(b *testing.B) {
			w := newWide(b, k.side, k.terminals)
			var took []time.Duration
			b.ResetTimer()
			for range b.N {
				took = append(took, w.reserve(b))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms/hold+commit")
		})
	}
}
