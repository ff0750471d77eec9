package core_test

import (
	"crypto/ed25519"
	"encoding/json"
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

// ring is a topology of n hubs.
func ring(n int) string {
	var nodes, links []string
	for i := range n {
		nodes = append(nodes, fmt.Sprintf(`{"name":"h%d","sid":"%x"}`, i, i+1))
		for _, e := range [][2]int{{i, (i + 1) % n}, {(i + 1) % n, i}} {
			links = append(links, fmt.Sprintf(`{"src":%d,"dst":%d,"bps":400000000000,"latency_us":1000}`, e[0], e[1]))
		}
	}
	return `{"format":"te-topology/1","name":"ring","nodes":[` + strings.Join(nodes, ",") + `],"links":[` + strings.Join(links, ",") + `]}`
}

// big is a core with hubs in a ring, terminals spread over them, and a dataset
// at the first terminal that everybody may reach and has a reservation for.
func big(tb testing.TB, hubs, terminals int) (*core.Core, dssn.DataID, []string) {
	tb.Helper()
	c := core.New()
	step := func(in core.Input) core.Reply {
		tb.Helper()
		r, _, err := c.Step(epoch, in)
		if err != nil {
			tb.Fatal(err)
		}
		return r
	}
	step(core.Input{Configure: &core.Configure{Topology: ring(hubs), Block: dssn.LabBlock, Operator: netip.MustParsePrefix("3fff:d55::/32"), Secret: seed("s")}})
	for _, i := range []string{"north", "south"} {
		step(core.Input{AddInstitution: &core.AddInstitution{By: operator, Request: northbound.InstitutionRequest{Name: i}}})
	}
	join := func(name string, role southbound.Role, inst string) dssn.NodeID {
		tb.Helper()
		step(core.Input{CreateToken: &core.CreateToken{By: operator, ID: name, Hash: seed("t", name), Request: northbound.TokenRequest{Node: name, Role: role, Institution: inst}}})
		r := step(core.Input{Join: &core.Join{Token: name, Hash: seed("t", name), Key: identity(name).Public().(ed25519.PublicKey), TunnelKey: seed("w", name),
			RegistrantKey: signer(inst).Public().(ed25519.PublicKey), Features: southbound.Features{NextCSID: true, CarrierEgress: true}}})
		return r.Node.Node
	}
	sees := make([][]string, hubs)
	for i := range hubs {
		sees[i] = []string{fmt.Sprint("h", (i+1)%hubs), fmt.Sprint("h", (i+hubs-1)%hubs)}
		join(fmt.Sprint("h", i), southbound.RoleBackbone, "")
	}
	var names []string
	for i := range terminals {
		inst := "south"
		if i%10 == 0 {
			inst = "north"
		}
		names = append(names, fmt.Sprintf("t%04d", i))
		join(names[i], southbound.RoleTerminal, inst)
		sees[i%hubs] = append(sees[i%hubs], names[i])
	}
	see := func(name string, ns []string) {
		a := &core.Adjacencies{Node: name}
		for _, n := range ns {
			a.Links = append(a.Links, southbound.Adjacency{Neighbour: n, Up: true})
		}
		step(core.Input{Adjacencies: a})
	}
	for i := range hubs {
		see(fmt.Sprint("h", i), sees[i])
	}
	for i, n := range names {
		see(n, []string{fmt.Sprint("h", i%hubs)})
	}
	var p netip.Prefix
	for _, i := range c.Institutions() {
		if i.Name == "north" {
			p = i.Registrant
		}
	}
	r := content.Record{Name: "rain", Registrant: p, Grade: dssn.GradeGeneral2, Root: content.Hash([]byte("rain")), Length: 1, Files: 1, Created: epoch}
	if err := r.Sign(signer("north")); err != nil {
		tb.Fatal(err)
	}
	step(core.Input{Publish: &core.Publish{By: operator, Holder: names[0], Record: r}})
	step(core.Input{Grant: &core.Grant{By: operator, ID: "g", Request: northbound.GrantRequest{Data: r.ID.Prefix(), To: "south", Until: epoch.Add(time.Hour * 1000)}}})
	return c, r.ID, slices.DeleteFunc(names, func(s string) bool { return strings.HasSuffix(s, "0") })
}

// BenchmarkHoldCommitRelease is the core's part of a reservation's life, with
// every terminal permitted to reach one dataset.
func BenchmarkHoldCommitRelease(b *testing.B) {
	for _, terminals := range []int{100, 1000} {
		b.Run(fmt.Sprint("terminals=", terminals), func(b *testing.B) {
			c, id, names := big(b, 8, terminals)
			n := uint64(0)
			var took []time.Duration
			b.ResetTimer()
			for i := range b.N {
				n++
				name := names[i%len(names)]
				began := time.Now()
				r, _, err := c.Step(epoch, core.Input{Reserve: &core.Reserve{By: operator, ID: dssn.ReservationID(n), Request: northbound.ReservationRequest{Data: id, Committed: dssn.Mbps, Ceiling: dssn.Gbps, Class: dssn.ClassElastic, Consumer: name}}})
				if err != nil {
					b.Fatal(err)
				}
				if _, _, err := c.Step(epoch, core.Input{Commit: &core.Commit{By: operator, ID: r.Reservation.ID}}); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
				if i >= len(names)/2 { // half of them stay
					if _, _, err := c.Step(epoch, core.Input{Release: &core.Release{By: operator, ID: dssn.ReservationID(n - uint64(len(names)/2))}}); err != nil {
						b.Fatal(err)
					}
				}
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms/hold+commit")
			size, _ := json.Marshal(c.Assignment(names[0]))
			b.ReportMetric(float64(len(size)), "bytes/assignment")
		})
	}
}
