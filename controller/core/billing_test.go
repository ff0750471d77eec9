package core_test

import (
	"encoding/json"
	"fmt"
	mathbig "math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"dssn/controller/core"
	"dssn/controller/ledger"
	"dssn/controller/northbound"
	"dssn/controller/southbound"
)

// keep takes a bill's file as the shell does, and rates it again at once.
func (s *script) keep(d *core.Document) {
	s.t.Helper()
	f, err := ledger.ReadFile(d.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	hash, err := ledger.VerifyFile(f)
	if err != nil {
		s.t.Fatalf("the bill in %s does not come out the same: %v", d.Name, err)
	}
	b, document, err := s.c.IssuedBill(operator, f.Bill.Number)
	if err != nil || document != d.Name || b.Hash != hash || b.Total != f.Bill.Total {
		s.t.Errorf("the bill %s is kept as %s with the hash %s, issued as %+v (%v)", f.Bill.Number, d.Name, hash, b, err)
	}
	if old := s.bills[f.Bill.Number]; old != nil {
		s.t.Errorf("the bill %s was issued twice", f.Bill.Number)
	}
	s.bills[f.Bill.Number] = f
}

// doBilling runs the lines of a script that are about bills.
func (s *script) doBilling(w []string) (string, error) {
	s.t.Helper()
	arg := func(i int) string {
		if i < len(w) && !strings.Contains(w[i], "=") {
			return w[i]
		}
		return ""
	}
	n := func(name string) uint64 { v, _ := strconv.ParseUint(option(w, name), 10, 64); return v }
	switch w[0] {
	case "issue": // issue BY INSTITUTION [tariff=] [ago=SECONDS]
		name := option(w, "tariff")
		if name == "" {
			name = "standard"
		}
		text, ok := ledger.Example(name)
		if !ok {
			s.t.Fatalf("no tariff is called %q", name)
		}
		tariff, err := ledger.Read(text)
		if err != nil {
			s.t.Fatal(err)
		}
		to := s.now.Add(-time.Duration(n("ago")) * time.Second)
		zone, err := ledger.Offsets(tariff.Zone, s.c.BillFrom(arg(2)), to)
		if err != nil {
			s.t.Fatal(err)
		}
		r, err := s.step(core.Input{IssueBill: &core.IssueBill{By: s.by(arg(1)), Institution: arg(2), To: to, Tariff: text, Zone: zone}})
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s %s %s", r.Bill.Number, r.Bill.Total, r.Bill.Currency), nil
	case "lines": // lines NUMBER
		var out strings.Builder
		for _, l := range s.bills[arg(1)].Bill.Lines {
			fmt.Fprintf(&out, "%s %s", l.Dimension, l.Quantity)
			if l.Status != "" {
				fmt.Fprintf(&out, " %s", l.Status)
			}
			for _, v := range []string{l.Terms.Class, l.Terms.Band, l.Terms.Distance, l.Terms.Latency, l.Terms.Grade} {
				if v != "" {
					fmt.Fprintf(&out, " %s", v)
				}
			}
			fmt.Fprintf(&out, " × %s = %s; ", l.Price, l.Amount)
		}
		for _, d := range s.bills[arg(1)].Bill.Disputed {
			fmt.Fprintf(&out, "not billed: %s; ", d)
		}
		return strings.TrimSuffix(out.String(), "; "), nil
	case "intervals": // intervals NUMBER
		var out strings.Builder
		for _, c := range s.bills[arg(1)].Records.Contracts {
			for _, v := range c.Intervals {
				fmt.Fprintf(&out, "%s to %s: %d sent, %d received; ", v.From.Format(time.TimeOnly), v.To.Format(time.TimeOnly), v.Sent, v.Received)
			}
		}
		return strings.TrimSuffix(out.String(), "; "), nil
	case "decide": // decide BY NODE DATA bytes= | decide BY transfer= bytes=
		in := &core.Resolve{By: s.by(arg(1)), Bytes: n("bytes"), Reason: "looked into"}
		if v := option(w, "transfer"); v != "" {
			in.Transfer = fmt.Sprintf("%032x", n("transfer"))
		} else {
			in.Reservation = s.res[arg(2)+"/"+arg(3)]
		}
		_, err := s.step(core.Input{Resolve: in})
		return "resolved", err
	default: // disputes BY
		var out []string
		for _, d := range s.c.Disputes(s.by(arg(1))) {
			out = append(out, fmt.Sprintf("%s %s%s: %s", d.Kind, d.Reservation, strings.TrimLeft(d.Transfer, "0"), d.Detail))
		}
		return strings.Join(out, "; "), nil
	}
}

// sumOf adds up the quantities of a dimension on all bills of an institution.
func (s *script) sumOf(institution string, dims ...ledger.Dimension) *mathbig.Rat {
	sum := new(mathbig.Rat)
	for _, f := range s.bills {
		for _, l := range f.Bill.Lines {
			for _, d := range dims {
				if q, ok := new(mathbig.Rat).SetString(l.Quantity); ok && f.Bill.Institution == institution && l.Dimension == string(d) {
					sum.Add(sum, q)
				}
			}
		}
	}
	return sum
}

// Billed = recorded = metered: whatever nodes report, in whatever order, and
// whenever bills are made, each verified byte is on exactly one bill, and each
// byte that arrived under a contract is used, burst, or was agreed on too late to
// be more than burst; nothing is on two.
func TestEveryByteIsBilledOnceWheneverBillsAreMade(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { billedLife(t, seed) })
	}
}

func billedLife(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 7))
	s := newScript(t)
	s.run(world + "publish north-1 rain 1000\ngrant operator rain south 864000\nreserve south-1 rain committed=8M ceiling=4G\n")
	var sent, content uint64
	var done []uint64
	transfer := uint64(1)
	type line struct{ text string }
	var late []line
	send := func(text string) {
		switch random.IntN(4) {
		case 0: // lost now, repeated later
			late = append(late, line{text})
		case 1: // twice
			s.run(text + "\n" + text)
		default:
			s.run(text)
		}
	}
	sequence := 0
	report := func(end bool) {
		sequence++
		tail := ""
		if end {
			tail = " done"
		}
		send(fmt.Sprintf("usage north-1 south-1 rain epoch=1 seq=%d sent=%d content=%d end=holder transfer=%d%s", sequence, sent, content, transfer, tail))
		send(fmt.Sprintf("usage south-1 north-1 rain epoch=1 seq=%d received=%d content=%d end=receiver transfer=%d%s", sequence, sent, content, transfer, tail))
	}
	for range 60 {
		more := random.Uint64N(400_000_000)
		sent, content = sent+more, content+more
		end := random.IntN(6) == 0
		report(end)
		if end {
			done = append(done, content)
			transfer, content = transfer+1, 0
		}
		if random.IntN(3) == 0 {
			for _, l := range late {
				s.run(l.text)
			}
			late = nil
		}
		s.run(fmt.Sprintf("wait %d", random.IntN(400)))
		if random.IntN(10) == 0 {
			if _, err := s.do("issue operator south tariff=" + []string{"standard", "national"}[random.IntN(2)]); err != nil {
				if _, refused := err.(*core.Refusal); !refused {
					t.Fatal(err)
				}
			}
		}
	}
	for _, l := range late {
		s.run(l.text)
	}
	report(false) // both ends' last word on the counters
	s.run(fmt.Sprintf("usage north-1 south-1 rain epoch=1 seq=9999 sent=%d\nusage south-1 north-1 rain epoch=1 seq=9999 received=%d", sent, sent))
	s.run("wait 301")
	s.run("usage north-1 south-1 rain epoch=1 seq=10000\nusage south-1 north-1 rain epoch=1 seq=10000")
	s.run("wait 301\nwait 1\nissue operator south")
	if d, _ := s.do("disputes operator"); d != "" {
		t.Fatalf("honest ends are in dispute: %s", d)
	}
	var want uint64
	for _, n := range done {
		want += n
	}
	gb := func(n uint64) *mathbig.Rat {
		return new(mathbig.Rat).SetFrac(new(mathbig.Int).SetUint64(n), mathbig.NewInt(1e9))
	}
	if got := s.sumOf("south", ledger.DimensionVerified); got.Cmp(gb(want)) != 0 {
		t.Errorf("%s GB are on bills, %s GB were verified at both ends", got.FloatString(9), gb(want).FloatString(9))
	}
	var received uint64
	seen := map[string]bool{}
	for _, f := range s.bills {
		for _, c := range f.Records.Contracts {
			for _, v := range c.Intervals {
				key, _ := json.Marshal([]any{v.Reservation, v.From})
				if seen[string(key)] {
					t.Errorf("the interval %s is on two bills", key)
				}
				seen[string(key)] = true
				received += v.Received
			}
		}
	}
	if received != sent {
		t.Errorf("%d bytes are in the records of bills, %d arrived", received, sent)
	}
	// Bills follow each other from the institution's registration on.
	at := s.c.Institutions()[1].Created
	for _, b := range s.c.IssuedBills(operator) {
		if !b.From.Equal(at) || !b.To.After(b.From) {
			t.Errorf("%s is from %s to %s, the one before ended at %s", b.Number, b.From, b.To, at)
		}
		at = b.To
	}
	s.checkReplay()
}

func TestABillFileThatWasChangedIsFound(t *testing.T) {
	s := newScript(t)
	s.run(world + `publish north-1 rain 1000
grant operator rain south 864000
reserve south-1 rain committed=8M ceiling=4G
usage north-1 south-1 rain epoch=1 seq=1 sent=500000000 content=400000000 end=holder transfer=7 done
usage south-1 north-1 rain epoch=1 seq=1 received=499000000 content=400000000 end=receiver transfer=7 done
wait 301
usage north-1 south-1 rain epoch=1 seq=2
usage south-1 north-1 rain epoch=1 seq=2
wait 301
wait 1
issue operator south tariff=national
`)
	text, err := json.Marshal(s.bills["south-1"])
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*northbound.BillFile){
		"format": func(f *northbound.BillFile) { f.Format = "x" },
		"tariff": func(f *northbound.BillFile) {
			f.Tariff = json.RawMessage(`{"version":"national-1","currency":"CNY","prices":{}}`)
		},
		"transfer's bytes": func(f *northbound.BillFile) { f.Records.Transfers[0].Bytes++ },
		"transfer's hash": func(f *northbound.BillFile) {
			f.Records.Transfers[0].Bytes++
			f.Records.Transfers[0].Hash = ledger.RecordHash(&f.Records.Transfers[0])
		},
		"payer": func(f *northbound.BillFile) {
			f.Records.Transfers[0].Payer = "north"
			f.Records.Transfers[0].Hash = ledger.RecordHash(&f.Records.Transfers[0])
		},
		"second copy": func(f *northbound.BillFile) {
			f.Records.Transfers = append(f.Records.Transfers, f.Records.Transfers[0])
		},
		"contract twice": func(f *northbound.BillFile) {
			f.Records.Contracts = append(f.Records.Contracts, f.Records.Contracts[0])
		},
		"contract":         func(f *northbound.BillFile) { f.Records.Contracts[0].Segments[0].Committed++ },
		"contract's payer": func(f *northbound.BillFile) { f.Records.Contracts[0].Institution = "north" },
		"interval":         func(f *northbound.BillFile) { f.Records.Contracts[0].Intervals[0].Received++ },
		"lost interval":    func(f *northbound.BillFile) { f.Records.Contracts[0].Intervals = nil },
		"period":           func(f *northbound.BillFile) { f.Bill.To = f.Bill.To.Add(time.Hour) },
		"zone":             func(f *northbound.BillFile) { f.Bill.Zone = nil },
		"total":            func(f *northbound.BillFile) { f.Bill.Total = "0.01" },
		"line":             func(f *northbound.BillFile) { f.Bill.Lines = f.Bill.Lines[1:] },
	} {
		f, err := ledger.ReadFile(text)
		if err != nil {
			t.Fatal(err)
		}
		change(f)
		if _, err := ledger.VerifyFile(f); err == nil {
			t.Errorf("a bill file with another %s was verified", what)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: the sentence is %q", what, err)
		}
	}
}

// A node's clock says nothing about when something was used: hours off, it gives
// the same bill.
func TestNodesClocksChangeNoBill(t *testing.T) {
	var totals []string
	for _, off := range []time.Duration{0, 5 * time.Hour, -5 * time.Hour, 1000 * time.Hour} {
		s := newScript(t)
		s.run(world + "publish north-1 rain 1000\ngrant operator rain south 864000\nreserve south-1 rain committed=8M ceiling=4G\n")
		for k := range uint64(6) {
			for _, n := range []string{"north-1", "south-1"} {
				peer, end := "south-1", southbound.EndHolder
				c := southbound.Count{Reservation: s.res["south-1/rain"], SentBytes: (k + 1) * 400_000_000}
				if n == "south-1" {
					peer, end = "north-1", southbound.EndReceiver
					c = southbound.Count{Reservation: c.Reservation, ReceivedBytes: c.SentBytes}
				}
				at := s.now.Add(off)
				u := southbound.Usage{Epoch: "0123456789abcdef", Sequence: k, At: at, Counts: []southbound.Count{c}, Deliveries: []southbound.Delivery{{
					Transfer: fmt.Sprintf("%032x", 1), End: end, Data: s.dataset("rain"), Peer: s.node(peer), Reservation: c.Reservation,
					ContentBytes: (k + 1) * 250_000_000, Started: at, Updated: at, Done: k == 5}}}
				u.Deliveries[0].Sign(s.node(n), identity(n))
				u.Sign(s.node(n), identity(n))
				if _, err := s.step(core.Input{Usage: &core.Usage{Node: n, Report: u}}); err != nil {
					t.Fatal(err)
				}
			}
			s.run("wait 300")
		}
		s.run("wait 1\nissue operator south tariff=national")
		var lines strings.Builder
		for _, l := range s.bills["south-1"].Bill.Lines {
			fmt.Fprintln(&lines, l.Dimension, l.Quantity, l.Amount, l.Terms)
		}
		if r := s.bills["south-1"].Records.Transfers[0]; r.Started.After(r.Ended) {
			t.Errorf("%v off, a transfer began at %s and ended at %s", off, r.Started, r.Ended)
		}
		totals = append(totals, lines.String())
	}
	for i, lines := range totals {
		if lines != totals[0] || !strings.Contains(lines, "burst-bytes") {
			t.Errorf("bill %d is\n%s, with right clocks it is\n%s", i, lines, totals[0])
		}
	}
}

// A report of long ago is counted once, however many epochs have come since.
func TestAnOldReportOfAClosedEpochAddsNothing(t *testing.T) {
	s := newScript(t)
	s.run(world + "publish north-1 rain 1000\ngrant operator rain south 864000\nreserve south-1 rain committed=8M ceiling=4G\n")
	for k := range 150 {
		s.run(fmt.Sprintf("usage south-1 north-1 rain epoch=%d seq=1 received=1000", k+1))
	}
	for _, old := range []int{1, 40, 70} {
		_, err := s.do(fmt.Sprintf("usage south-1 north-1 rain epoch=%d seq=1 received=1000", old))
		if r, ok := err.(*core.Refusal); !ok || r.Kind != core.Conflict {
			t.Errorf("the report of epoch %d was taken again (%v)", old, err)
		}
	}
	for _, r := range s.c.Usage(operator).Reservations {
		if !r.Implicit && r.Egress.ReceivedBytes != 150_000 {
			t.Errorf("%d bytes are counted, want 150000", r.Egress.ReceivedBytes)
		}
	}
	s.checkReplay()
}

// What a node says about traffic or transfers that are not its own changes nothing.
func TestANodeSpeaksForItselfOnly(t *testing.T) {
	s := newScript(t)
	s.run(world + `token south-2 terminal south
join south-2
see south-2 b
see b a c south-2
publish north-1 rain 1000
grant operator rain south 864000
reserve south-1 rain committed=8M ceiling=4G
usage south-1 north-1 rain epoch=1 seq=1 received=1000 content=1000 end=receiver transfer=7
`)
	id := s.res["south-1/rain"]
	for _, u := range []southbound.Usage{
		{Counts: []southbound.Count{{Reservation: id, SentBytes: 5e9, ReceivedBytes: 5e9}}},
		{Deliveries: []southbound.Delivery{{Transfer: fmt.Sprintf("%032x", 7), End: southbound.EndReceiver, Data: s.dataset("rain"), Peer: s.node("north-1"), ContentBytes: 5e9, Done: true}}},
		{Deliveries: []southbound.Delivery{{Transfer: fmt.Sprintf("%032x", 7), End: southbound.EndHolder, Data: s.dataset("rain"), Peer: s.node("south-1"), ContentBytes: 5e9, Done: true}}},
	} {
		u.Epoch, u.Sequence = "0123456789abcdef", 1
		u.Sign(s.node("south-2"), identity("south-2"))
		if _, err := s.step(core.Input{Usage: &core.Usage{Node: "south-2", Report: u}}); err != nil {
			t.Fatal(err)
		}
	}
	u := s.c.Usage(operator)
	if len(u.Transfers) != 1 || u.Transfers[0].HolderBytes != 0 || u.Transfers[0].ReceiverBytes != 1000 || u.Transfers[0].Receiver != "south-1" {
		t.Errorf("the transfers are %+v", u.Transfers)
	}
	for _, r := range u.Reservations {
		if r.Reservation == id && (r.Ingress.SentBytes != 0 || r.Egress.ReceivedBytes != 1000) {
			t.Errorf("the contract's counts are %+v", r)
		}
	}
	s.checkReplay()
}
