package controller

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"dssn"
	"dssn/controller/core"
	"dssn/controller/journal"
	"dssn/controller/northbound"
	"dssn/controller/southbound"
)

// BenchmarkIntake takes signed reports of a hundred terminals from the queue to the
// disk: signatures, journal (SQLite, durable), core, acknowledgement. What is not
// in it is the network and the codec.
func BenchmarkIntake(b *testing.B) {
	j, err := journal.Open(filepath.Join(b.TempDir(), "controller.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	o := &Options{State: b.TempDir(), Logger: slog.New(slog.DiscardHandler)}
	o.defaults()
	c, err := newController(j, o)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	failed := make(chan error, 1)
	go func() { failed <- c.engine.run(ctx) }()
	go c.intake.run(ctx)
	defer func() { cancel(); <-c.intake.done; <-c.engine.done }()
	submit := func(in core.Input) core.Reply {
		r, err := c.engine.submit(ctx, in)
		if err != nil {
			b.Fatal(err)
		}
		return r
	}
	operator := northbound.WhoAmI{Operator: true, Institution: northbound.OperatorInstitution}
	submit(core.Input{Configure: &core.Configure{Topology: `{"format":"te-topology/1","name":"two","nodes":[{"name":"a","sid":"11"},{"name":"b","sid":"12"}],"links":[
{"src":0,"dst":1,"bps":10000000000,"latency_us":1000},{"src":1,"dst":0,"bps":10000000000,"latency_us":1000}]}`,
		Block: dssn.LabBlock, Operator: netip.MustParsePrefix("3fff:d55::/32"), Secret: make([]byte, 32)}})
	submit(core.Input{AddInstitution: &core.AddInstitution{By: operator, Request: northbound.InstitutionRequest{Name: "south"}}})

	const nodes, each = 100, 200
	type sender struct {
		session *session
		reports []*southbound.Usage
	}
	all := make([]sender, nodes)
	for i := range all {
		name := fmt.Sprintf("south-%d", i)
		key := ed25519.NewKeyFromSeed(fmt.Appendf(nil, "%032d", i))
		secret := sha256.Sum256([]byte(name))
		submit(core.Input{CreateToken: &core.CreateToken{By: operator, Request: northbound.TokenRequest{Node: name, Role: southbound.RoleTerminal, Institution: "south"}, ID: name, Hash: secret[:]}})
		tunnel := sha256.Sum256([]byte("tunnel " + name))
		n := submit(core.Input{Join: &core.Join{Token: name, Hash: secret[:], Key: key.Public().(ed25519.PublicKey), TunnelKey: tunnel[:], RegistrantKey: key.Public().(ed25519.PublicKey)}}).Node
		all[i].session = &session{node: n.Node, name: name, wake: make(chan struct{}, 1), cancel: func(error) {}}
		for k := range uint64(each) {
			u := &southbound.Usage{Epoch: "0123456789abcdef", Sequence: k + 1, At: time.Unix(1e9, 0)}
			for r := range uint64(4) {
				u.Counts = append(u.Counts, southbound.Count{Reservation: dssn.ReservationID(r + 1), SentPackets: k, SentBytes: k * 1400, ReceivedPackets: k, ReceivedBytes: k * 1400})
			}
			u.Sign(n.Node, key)
			all[i].reports = append(all[i].reports, u)
		}
	}
	b.ResetTimer()
	for range b.N {
		before := c.engine.counters.reports.Load()
		for k := range each {
			for i := range all {
				if err := c.intake.put(ctx, all[i].session, all[i].reports[k]); err != nil {
					b.Fatal(err)
				}
			}
		}
		for c.engine.counters.reports.Load()-before < nodes*each {
			select {
			case err := <-failed:
				b.Fatal(err)
			case <-time.After(time.Millisecond):
			}
		}
	}
	b.ReportMetric(float64(b.N)*nodes*each/b.Elapsed().Seconds(), "reports/s")
}
