package controller_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"dssn"
	"dssn/controller"
	"dssn/controller/controllertest"
	"dssn/controller/evidence"
	"dssn/controller/ledger"
	"dssn/controller/northbound"
	"dssn/controller/southbound"
)

// square is a ring of four hubs: two disjoint ways between any two.
const square = `{"format":"te-topology/1","name":"square","nodes":[
{"name":"a","sid":"11"},{"name":"b","sid":"12"},{"name":"c","sid":"13"},{"name":"d","sid":"14"}],"links":[
{"src":0,"dst":1,"bps":10000000000,"latency_us":1000},{"src":1,"dst":0,"bps":10000000000,"latency_us":1000},
{"src":1,"dst":2,"bps":10000000000,"latency_us":1000},{"src":2,"dst":1,"bps":10000000000,"latency_us":1000},
{"src":0,"dst":3,"bps":4000000000,"latency_us":2000},{"src":3,"dst":0,"bps":4000000000,"latency_us":2000},
{"src":3,"dst":2,"bps":4000000000,"latency_us":2000},{"src":2,"dst":3,"bps":4000000000,"latency_us":2000}]}`

// running is a controller in this process.
type running struct {
	t      testing.TB
	state  string
	url    string
	op     *northbound.Client
	cancel context.CancelFunc
	ended  chan error
	listen string
	opts   []func(*controller.Options)
}

func start(t testing.TB, state, listen string, opts ...func(*controller.Options)) *running {
	t.Helper()
	topology := filepath.Join(state, "topology.json")
	if err := os.WriteFile(topology, []byte(square), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, state: state, cancel: cancel, ended: make(chan error, 1), opts: opts}
	ready := make(chan []string, 1)
	o := controller.Options{State: state, Listen: []string{listen}, Topology: topology,
		Logger: slog.New(slog.DiscardHandler), Ready: func(urls []string) { ready <- urls }}
	for _, change := range opts {
		change(&o)
	}
	go func() { r.ended <- controller.Run(ctx, o) }()
	select {
	case urls := <-ready:
		r.url = urls[0]
	case err := <-r.ended:
		t.Fatalf("the controller ended: %v", err)
	}
	r.listen = r.url[len("https://"):]
	r.op = northbound.NewUnixClient(filepath.Join(state, controller.SocketName))
	t.Cleanup(r.stop)
	return r
}

func (r *running) stop() {
	if r.cancel == nil {
		return
	}
	r.op.Close()
	r.cancel()
	r.cancel = nil
	if err := <-r.ended; err != nil {
		r.t.Errorf("the controller ended with %v", err)
	}
}

func (r *running) join(ctx context.Context, name string, role southbound.Role, institution string) *controllertest.Node {
	r.t.Helper()
	tok, err := r.op.CreateToken(ctx, northbound.TokenRequest{Node: name, Role: role, Institution: institution})
	if err != nil {
		r.t.Fatal(err)
	}
	n, err := controllertest.Join(ctx, r.url, tok.Token)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := n.Attach(ctx); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(n.Close)
	return n
}

// world is a square of hubs with a terminal at a and one at c.
type world struct {
	*running
	hubs             map[string]*controllertest.Node
	holder, consumer *controllertest.Node
}

func newWorld(t testing.TB, ctx context.Context, opts ...func(*controller.Options)) *world {
	t.Helper()
	w := &world{running: start(t, t.TempDir(), "[::1]:0", opts...), hubs: map[string]*controllertest.Node{}}
	for _, i := range []string{"north", "south"} {
		if _, err := w.op.AddInstitution(ctx, northbound.InstitutionRequest{Name: i}); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range []string{"a", "b", "c", "d"} {
		w.hubs[h] = w.join(ctx, h, southbound.RoleBackbone, "")
	}
	w.holder = w.join(ctx, "north-1", southbound.RoleTerminal, "north")
	w.consumer = w.join(ctx, "south-1", southbound.RoleTerminal, "south")
	w.see(w.hubs["a"], "b", "d", "north-1")
	w.see(w.hubs["b"], "a", "c")
	w.see(w.hubs["c"], "b", "d", "south-1")
	w.see(w.hubs["d"], "a", "c")
	w.see(w.holder, "a")
	w.see(w.consumer, "c")
	return w
}

func (w *world) see(n *controllertest.Node, names ...string) {
	w.t.Helper()
	if err := n.Sees(names...); err != nil {
		w.t.Fatal(err)
	}
}

func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func status(t *testing.T, err error, want int) *northbound.Problem {
	t.Helper()
	var p *northbound.Problem
	if !errors.As(err, &p) || p.Status != want {
		t.Fatalf("got %v, want a problem with status %d", err, want)
	}
	return p
}

func TestFromTokenToReceipt(t *testing.T) {
	leaked := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, leaked) })
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	var ahead atomic.Int64 // how far the controller's clock is ahead
	w := newWorld(t, ctx, func(o *controller.Options) {
		o.Clock = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	rec := must(w.holder.Record("rain", 1<<30))(t)
	d := must(w.holder.V1.Publish(ctx, northbound.PublishRequest{Record: rec}))(t)

	p := status(t, second(w.consumer.V1.Resolve(ctx, rec.ID)), 403)
	if want := "no grant covers " + rec.ID.String() + " for south-1: ask its owner north to run `dssn grant " + rec.ID.String() + " --to south --until TIME`"; p.Detail != want {
		t.Errorf("the refusal says %q, want %q", p.Detail, want)
	}
	status(t, second(w.consumer.V1.Grant(ctx, northbound.GrantRequest{Data: rec.ID.Prefix(), To: "south", Until: time.Now().Add(time.Hour)})), 403)
	must(w.holder.V1.Grant(ctx, northbound.GrantRequest{Data: rec.ID.Prefix(), To: "south", Until: time.Now().Add(time.Hour)}))(t)

	a := must(w.consumer.Assigned(ctx, func(a *southbound.Assignment) bool { return len(a.Peers) == 1 && len(a.Peers[0].Paths) == 2 }))(t)
	peer := a.Peers[0]
	if !slices.Equal(peer.Paths[0].Hops, []string{"south-1", "c", "b", "a", "north-1"}) || !slices.Equal(peer.Paths[1].Hops, []string{"south-1", "c", "d", "a", "north-1"}) {
		t.Errorf("paths are %v and %v", peer.Paths[0].Hops, peer.Paths[1].Hops)
	}
	if !slices.Contains(peer.Allowed, rec.ID.Prefix()) || !slices.Contains(peer.Allowed, w.holder.Node.DataID().Prefix()) {
		t.Errorf("allowed are %v", peer.Allowed)
	}
	h := must(w.holder.Assigned(ctx, func(a *southbound.Assignment) bool { return len(a.Permits) == 1 && len(a.Peers) == 1 }))(t)
	if !bytes.Equal(h.Peers[0].PresharedKey, peer.PresharedKey) || len(peer.PresharedKey) != 32 {
		t.Error("the pre-shared keys of the two ends differ")
	}

	full := status(t, second(w.consumer.V1.Reserve(ctx, northbound.ReservationRequest{Data: rec.ID, Committed: 40 * dssn.Gbps, Class: dssn.ClassElastic})), 409)
	if full.Bottleneck == "" || full.BestOffer != 10*dssn.Gbps {
		t.Errorf("the refusal names %q and offers %s", full.Bottleneck, full.BestOffer)
	}
	r := must(w.consumer.V1.Reserve(ctx, northbound.ReservationRequest{Data: rec.ID, Committed: dssn.Gbps, Ceiling: 4 * dssn.Gbps, Class: dssn.ClassElastic}))(t)
	if r.State != northbound.StateActive || r.Allocated != 4*dssn.Gbps || r.Ingress != "north-1" {
		t.Errorf("reserved: %+v", r)
	}
	must(w.holder.Assigned(ctx, func(a *southbound.Assignment) bool {
		return slices.ContainsFunc(a.Meters, func(m southbound.Meter) bool {
			return m.Reservation == r.ID && m.Ingress && m.Allocated == 4*dssn.Gbps
		})
	}))(t)

	// A fibre is cut: the pair moves to the other way round.
	w.see(w.hubs["b"], "c")
	must(w.holder.Assigned(ctx, func(a *southbound.Assignment) bool {
		return len(a.Peers) == 1 && slices.Equal(a.Peers[0].Paths[0].Hops, []string{"north-1", "a", "d", "c", "south-1"})
	}))(t)

	// The controller dies and comes back: what was committed is there.
	before := must(w.op.Status(ctx))(t)
	w.stop()
	w.running = start(t, w.state, w.listen, w.opts...)
	after := must(w.op.Status(ctx))(t)
	if before.StateHash != after.StateHash || before.LogSize != after.LogSize {
		t.Errorf("state %s with %d leaves became %s with %d", before.StateHash, before.LogSize, after.StateHash, after.LogSize)
	}
	for _, n := range []*controllertest.Node{w.holder, w.consumer} {
		n.Close()
		if err := n.Attach(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if got := must(w.consumer.V1.Reservation(ctx, r.ID))(t); got.State != northbound.StateActive || got.Committed != dssn.Gbps {
		t.Errorf("after the restart: %+v", got)
	}

	const transfer = "00112233445566778899aabbccddeeff"
	// Reports are signed; one that is forged ends its stream, and one that is no
	// longer signed is not taken.
	forged := &southbound.Usage{Epoch: "0123456789abcdef", Sequence: 1, At: time.Now()}
	forged.Sign(w.consumer.Node, w.holder.Key)
	if err := w.holder.Send(&southbound.Up{Usage: forged}); err != nil {
		t.Fatal(err)
	}
	if d, err := w.holder.Until(ctx, func(d *southbound.Down) bool { return d.UsageAck != nil }); err == nil || ctx.Err() != nil {
		t.Fatalf("a forged report was acknowledged (%+v), or its stream goes on (%v)", d, err)
	}
	w.holder.Close()
	if err := w.holder.Attach(ctx); err != nil {
		t.Fatal(err)
	}
	report := func(n *controllertest.Node, end southbound.DeliveryEnd, peer dssn.NodeID, c southbound.Count, bytes uint64) {
		t.Helper()
		u := &southbound.Usage{Epoch: "0123456789abcdef", Sequence: 7, At: time.Now(), Counts: []southbound.Count{c},
			Deliveries: []southbound.Delivery{{Transfer: transfer, End: end, Data: rec.ID, Peer: peer, Reservation: r.ID, ContentBytes: bytes, Started: time.Now(), Done: true}}}
		u.Deliveries[0].Sign(n.Node, n.Key)
		u.Sign(n.Node, n.Key)
		for range 2 { // a repeated report changes nothing
			if err := n.Send(&southbound.Up{Usage: u}); err != nil {
				t.Fatal(err)
			}
			d := must(n.Until(ctx, func(d *southbound.Down) bool { return d.UsageAck != nil }))(t)
			if d.UsageAck.Sequence != 7 {
				t.Errorf("acknowledged %d, want 7", d.UsageAck.Sequence)
			}
			unsigned := *u
			unsigned.Sequence, unsigned.Signature = 8, nil
			if err := n.Send(&southbound.Up{Usage: &unsigned}); err != nil {
				t.Fatal(err)
			}
		}
	}
	report(w.holder, southbound.EndHolder, w.consumer.Node, southbound.Count{Reservation: r.ID, SentPackets: 10, SentBytes: 15000}, 1<<30)
	status(t, second(w.consumer.V1.Receipt(ctx, transfer)), 409)
	report(w.consumer, southbound.EndReceiver, w.holder.Node, southbound.Count{Reservation: r.ID, ReceivedPackets: 9, ReceivedBytes: 13500}, 1<<30)

	u := must(w.consumer.V1.Usage(ctx))(t)
	i := slices.IndexFunc(u.Reservations, func(x northbound.ReservationUsage) bool { return x.Reservation == r.ID })
	if i < 0 || u.Reservations[i].LostPackets != 1 || u.Reservations[i].LostBytes != 1500 || len(u.Transfers) != 1 || u.Transfers[0].State != northbound.TransferSettled {
		t.Errorf("usage is %+v", u)
	}
	bill := must(w.consumer.V1.Bill(ctx, "", time.Time{}, time.Time{}))(t)
	if j := slices.IndexFunc(bill.Lines, func(l northbound.BillLine) bool { return l.Dimension == "verified-bytes" }); j < 0 || bill.Lines[j].Quantity != "1.073741824" || bill.Lines[j].Amount != "0.02147483648" || bill.Lines[j].Record != u.Transfers[0].Record.Hash {
		t.Errorf("the bill is %+v", bill)
	}
	tariff := must(ledger.Read(must(w.consumer.V1.Tariff(ctx))(t)))(t)
	if err := ledger.VerifyBill(bill, tariff); err != nil {
		t.Error(err)
	}
	for _, format := range []string{"focus", "tmf635", "cloudevents"} {
		if b := must(w.consumer.V1.Export(ctx, format, "", time.Time{}, time.Time{}))(t); !bytes.Contains(b, []byte(transfer)) {
			t.Errorf("the %s export lacks the transfer: %s", format, b)
		}
	}
	// What a node saw of a contract on its way is shown to the operator.
	if err := w.holder.Send(&southbound.Up{Transit: &southbound.Transit{Counts: []southbound.TransitCount{
		{Reservation: r.ID, Tag: 1, Class: r.Class, Packets: 12, Bytes: 1200, PolicedPackets: 2, PolicedBytes: 200, ForeignPackets: 3}, {Reservation: 4711, Packets: 5}}}}); err != nil {
		t.Fatal(err)
	}
	seen := func(v1 *northbound.Client) int {
		st := must(v1.Status(ctx))(t)
		for _, n := range st.Nodes {
			if len(n.Transit) > 0 {
				return len(n.Transit)
			}
		}
		return 0
	}
	for seen(w.op) != 2 {
		time.Sleep(time.Millisecond)
	}
	if n := seen(w.consumer.V1); n != 0 {
		t.Errorf("the consumer is shown %d contracts on their way", n)
	}
	said := must(w.op.Metrics(ctx))(t)
	for _, line := range []string{"packets_total{node=\"north-1\",reservation=\"" + r.ID.String() + "\"} 12\n", "policed_packets_total{node=\"north-1\",reservation=\"" + r.ID.String() + "\"} 2\n"} {
		if !bytes.Contains(said, []byte("dssn_transit_"+line)) {
			t.Errorf("the metrics lack dssn_transit_%s", line)
		}
	}
	for _, line := range []string{"dssn_transfers{state=\"settled\"} 1\n", "dssn_reservations{state=\"active\"} 1\n", "dssn_datasets 1\n", "dssn_controller_forged_reports_total 1\n", "dssn_link_up{from=\"a\",to=\"b\"} 0\n", "dssn_nodes{connected=\"true\"}"} {
		if !bytes.Contains(said, []byte(line)) {
			t.Errorf("the metrics lack %q:\n%s", line, said)
		}
	}
	receipt := must(w.consumer.V1.Receipt(ctx, transfer))(t)
	// A stranger checks the whole log by what is served, and that it only grew.
	older := must(w.op.Checkpoint(ctx))(t)
	must(w.op.AddInstitution(ctx, northbound.InstitutionRequest{Name: "west"}))(t)
	leaves := 0
	newest := must(evidence.VerifyLog(evidence.TrustLog(w.consumer.LogKey), older, func(path string) ([]byte, error) {
		if path == "checkpoint" {
			return w.op.Checkpoint(ctx)
		}
		return w.op.Tile(ctx, path)
	}, func(int64, []byte) error { leaves++; return nil }))(t)
	if st := must(w.op.Status(ctx))(t); newest.Size != st.LogSize || int64(leaves) != st.LogSize {
		t.Errorf("verified %d leaves, read %d, the log has %d", newest.Size, leaves, st.LogSize)
	}
	v := must(evidence.VerifyReceipt(receipt, evidence.TrustLog(w.consumer.LogKey)))(t)
	var body struct{ Record northbound.UsageRecord }
	if err := json.Unmarshal(v.Body, &body); err != nil || body.Record.Bytes != 1<<30 || body.Record.Root != d.Record.Root.String() {
		t.Errorf("the receipt says %s (%v)", v.Body, err)
	}
	if _, err := evidence.VerifyReceipt(bytes.Replace(receipt, []byte(`"index":`), []byte(`"index":1`), 1), evidence.TrustLog(w.consumer.LogKey)); err == nil {
		t.Error("a changed receipt was accepted")
	}
	if signed, err := ledger.VerifyReceipt(v.Body); err != nil || signed.Record.Bytes != 1<<30 || len(signed.Statements) != 2 {
		t.Errorf("both terminals should have signed: %+v, %v", signed, err)
	}

	// Usage is sealed, and agreed on when both ends have nothing to add; the bill
	// that is issued then is checked by the one who owes it, from its file and a
	// copy of the log.
	for range 3 {
		ahead.Add(int64(5*time.Minute + time.Second))
		for _, n := range []*controllertest.Node{w.holder, w.consumer} {
			u := &southbound.Usage{Epoch: "0123456789abcdef", Sequence: uint64(ahead.Load()), At: time.Now().Add(5 * time.Hour)}
			u.Sign(n.Node, n.Key)
			if err := n.Send(&southbound.Up{Usage: u}); err != nil {
				t.Fatal(err)
			}
			must(n.Until(ctx, func(d *southbound.Down) bool { return d.UsageAck != nil && d.UsageAck.Sequence == u.Sequence }))(t)
		}
	}
	status(t, second(w.consumer.V1.IssueBill(ctx, "south", time.Time{})), 403)
	issued := must(w.op.IssueBill(ctx, "south", time.Time{}))(t)
	status(t, second(w.op.IssueBill(ctx, "south", issued.To)), 409)
	status(t, second(w.holder.V1.BillFile(ctx, issued.Number)), 404)
	file := must(w.consumer.V1.BillFile(ctx, issued.Number))(t)
	if hash := must(ledger.VerifyFile(&file))(t); hash != issued.Hash {
		t.Errorf("the bill's hash is %s, issued was %s", hash, issued.Hash)
	}
	used := ""
	for _, l := range file.Bill.Lines {
		used += l.Dimension + " " + l.Quantity + " " + l.Status + "; "
	}
	if !strings.Contains(used, "verified-bytes 1.073741824 ; ") || !strings.Contains(used, "reserved-bandwidth 0.000108 Used; ") {
		t.Errorf("the bill has %s", used)
	}
	proof := must(evidence.VerifyReceipt(file.Evidence, evidence.TrustLog(w.consumer.LogKey)))(t)
	if !bytes.Contains(proof.Body, []byte(issued.Hash)) {
		t.Errorf("the leaf of the bill is %s", proof.Body)
	}
	cited := ledger.Cited(file.Records)
	must(evidence.VerifyLog(evidence.TrustLog(w.consumer.LogKey), nil, func(path string) ([]byte, error) {
		if path == "checkpoint" {
			return w.op.Checkpoint(ctx)
		}
		return w.op.Tile(ctx, path)
	}, cited.Leaf))(t)
	if n, err := cited.Found(); err != nil || n != 2 {
		t.Errorf("%d records are in the log (%v), want the transfer and the interval", n, err)
	}
	file.Records.Contracts[0].Intervals[0].Received++
	if _, err := ledger.Cited(file.Records).Found(); err == nil {
		t.Error("records are found in a log that has none")
	}
	if list := must(w.consumer.V1.IssuedBills(ctx))(t); len(list) != 1 || list[0] != issued {
		t.Errorf("issued bills are %+v", list)
	}
}

func second[T any](_ T, err error) error { return err }

func TestPeopleActByTheirRole(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	r := start(t, t.TempDir(), "[::1]:0")
	must(r.op.AddInstitution(ctx, northbound.InstitutionRequest{Name: "north"}))(t)
	tok := must(r.op.CreateToken(ctx, northbound.TokenRequest{Node: "n1", Role: southbound.RoleTerminal, Institution: "north"}))(t)
	as := func(name string, role northbound.Role, institution string) *northbound.Client {
		t.Helper()
		p := must(r.op.AddPerson(ctx, northbound.PersonRequest{Name: name, Role: role, Institution: institution}))(t)
		c := northbound.NewClient(r.url, controllertest.Pinned(tok.Token))
		c.Bearer = p.Token
		t.Cleanup(c.Close)
		return c
	}
	admin, auditor := as("nan", northbound.RoleAdmin, "north"), as("eye", northbound.RoleAuditor, "north")
	if w := must(admin.WhoAmI(ctx))(t); w.Person != "nan" || w.Institution != "north" || w.Operator {
		t.Errorf("the admin is %+v", w)
	}
	must(admin.AddPerson(ctx, northbound.PersonRequest{Name: "min", Role: northbound.RoleMember, Institution: "north"}))(t)
	must(auditor.People(ctx))(t)
	status(t, second(auditor.AddPerson(ctx, northbound.PersonRequest{Name: "x", Role: northbound.RoleMember, Institution: "north"})), 403)
	status(t, second(admin.AddInstitution(ctx, northbound.InstitutionRequest{Name: "south"})), 403)
	op := as("root", northbound.RoleOperator, "")
	must(op.AddInstitution(ctx, northbound.InstitutionRequest{Name: "south"}))(t)
	// A program of the admin has a token of its own that may only read.
	with := func(token string) *northbound.Client {
		c := northbound.NewClient(r.url, controllertest.Pinned(tok.Token))
		c.Bearer = token
		t.Cleanup(c.Close)
		return c
	}
	few := must(admin.AddAPIToken(ctx, "nan", northbound.APITokenRequest{Name: "script", Scope: northbound.ScopeRead}))(t)
	all := must(admin.AddAPIToken(ctx, "nan", northbound.APITokenRequest{Name: "deploy", Scope: northbound.ScopeAll, TTLSeconds: 3600}))(t)
	must(with(few.Token).People(ctx))(t)
	status(t, second(with(few.Token).AddPerson(ctx, northbound.PersonRequest{Name: "y", Role: northbound.RoleMember, Institution: "north"})), 403)
	status(t, second(with(few.Token).AddAPIToken(ctx, "nan", northbound.APITokenRequest{Name: "more", Scope: northbound.ScopeAll})), 403)
	must(with(all.Token).AddPerson(ctx, northbound.PersonRequest{Name: "y", Role: northbound.RoleMember, Institution: "north"}))(t)
	status(t, second(admin.AddAPIToken(ctx, "nan", northbound.APITokenRequest{Name: "deploy", Scope: northbound.ScopeAll})), 409)
	status(t, second(admin.AddAPIToken(ctx, "root", northbound.APITokenRequest{Name: "theft", Scope: northbound.ScopeAll})), 404)
	status(t, second(admin.AddAPIToken(ctx, "nan", northbound.APITokenRequest{Name: "odd", Scope: "some"})), 400)

	if err := admin.RemovePerson(ctx, "eye"); err != nil {
		t.Fatal(err)
	}
	status(t, second(auditor.People(ctx)), 403)
	if err := op.RemovePerson(ctx, "nan"); err != nil {
		t.Fatal(err)
	}
	status(t, second(with(all.Token).People(ctx)), 403) // all of a person's tokens go with them
	auditor.Bearer = "dssnp1.000000000000.nonsense"
	status(t, second(auditor.WhoAmI(ctx)), 403)
	auditor.Bearer = ""
	status(t, second(auditor.WhoAmI(ctx)), 401)
}

func TestWhatIsNotUnderstoodIsAProblemDocument(t *testing.T) {
	ctx := t.Context()
	r := start(t, t.TempDir(), "[::1]:0")
	for _, c := range []struct {
		method, path string
		body         any
		status       int
	}{
		{"POST", "/v1/institutions", map[string]any{"name": "x", "colour": "red"}, 400},
		{"POST", "/v1/institutions", "text", 400},
		{"POST", "/v1/institutions", nil, 400},
		{"POST", "/v1/institutions", map[string]string{"name": string(bytes.Repeat([]byte("x"), northbound.MaxBodyBytes))}, 413},
		{"POST", "/v1/join", southbound.JoinRequest{Token: "dssn1.a.b"}, 400},
		{"POST", "/v1/join", southbound.JoinRequest{Token: "dssn1.a.b.c", CSR: []byte("x")}, 400},
		{"GET", "/v1/datasets/10.0.0.1", nil, 400},
		{"GET", "/v1/resolve/3fff:d55:1:1:2c21:7047:e66c:e21a", nil, 404},
		{"GET", "/v1/reservations/r-1", nil, 400},
		{"GET", "/v1/reservations/r-0000000000000001", nil, 404},
		{"POST", "/v1/reservations", map[string]any{"data": "3fff:d55:1:1:2c21:7047:e66c:e21a", "class": "gold"}, 400},
		{"POST", "/v1/reservations", map[string]any{"data": "3fff:d55:1:1:2c21:7047:e66c:e21a", "class": "elastic", "committed_bps": "-1G"}, 400},
		{"GET", "/v1/bills?institution=nobody", nil, 404},
		{"GET", "/v1/bills?from=yesterday", nil, 400},
		{"GET", "/v1/events?after=-1", nil, 400},
		{"GET", "/v1/nothing", nil, 404},
		{"DELETE", "/v1/grants/g-1", nil, 404},
		{"DELETE", "/v1/nodes/n", nil, 404},
		{"GET", "/evidence/tile/0/999", nil, 404},
	} {
		p := status(t, r.op.Do(ctx, c.method, c.path, c.body, nil), c.status)
		if p.Detail == "" || p.Type == "" || bytes.ContainsRune([]byte(p.Detail), '\n') {
			t.Errorf("%s %s: %+v", c.method, c.path, p)
		}
	}
}

func TestAFloodOfBadTokensIsTurnedAway(t *testing.T) {
	ctx := t.Context()
	r := start(t, t.TempDir(), "[::1]:0")
	tok := must(r.op.CreateToken(ctx, northbound.TokenRequest{Node: "a", Role: southbound.RoleBackbone}))(t)
	before := must(r.op.Status(ctx))(t)
	c := northbound.NewClient(r.url, controllertest.Pinned(tok.Token))
	defer c.Close()
	c.Bearer = "dssnp1.0.0"
	answers := map[int]int{}
	for range 300 {
		_, err := c.WhoAmI(ctx)
		var p *northbound.Problem
		if !errors.As(err, &p) {
			t.Fatal(err)
		}
		answers[p.Status]++
	}
	if answers[403] == 0 || answers[429] == 0 || answers[403]+answers[429] != 300 {
		t.Errorf("the answers were %v", answers)
	}
	if after := must(r.op.Status(ctx))(t); after.Journal != before.Journal {
		t.Errorf("strangers wrote %d entries into the journal", after.Journal-before.Journal)
	}
}
