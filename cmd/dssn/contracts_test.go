package main

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"dssn"
	"dssn/controller/northbound"
	"dssn/internal/need"
	"dssn/perf/lab"
)

// TestEveryClassKeepsItsWordOnARunningLab: a bulk transfer is done by its time, a
// boost raises the rate without loss, an assured contract is told its delay bound and
// keeps its rate beside a flood of elastic traffic, and every change can be asked for.
func TestEveryClassKeepsItsWordOnARunningLab(t *testing.T) {
	need.Root(t)
	need.Long(t)
	need.Tool(t, "ping")
	l, err := lab.Boot(t.Context(), lab.BootOptions{ID: "classes", Topology: []byte(threeHubs), Holder: "a", Consumer: "c", MTU: 1500, Program: program(t)}, logWriter{t})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(); err != nil {
			t.Error(err)
		}
	})
	v := town{t, l}
	dir := t.TempDir()
	publish := func(name string, size int) dssn.DataID {
		t.Helper()
		data := filepath.Join(dir, name)
		write(t, filepath.Join(data, name+".bin"), size)
		var r struct {
			ID dssn.DataID `json:"id"`
		}
		mustJSON(t, v.works("a-terminal", "dssn", "publish", data, "--name", name, "--grade", "2", "--category", "meteorology", "--json"), &r)
		v.works("a-terminal", "dssn", "grant", r.ID.String(), "--to", "c-institute", "--until", "24h")
		return r.ID
	}
	reserve := func(args ...string) (r northbound.Reservation) {
		t.Helper()
		mustJSON(t, v.works("c-terminal", append([]string{"dssn", "reserve", "--json"}, args...)...), &r)
		return r
	}
	show := func(id dssn.ReservationID) (r northbound.Reservation) {
		t.Helper()
		var list []northbound.Reservation
		mustJSON(t, v.works("c-terminal", "dssn", "reservations", "--json"), &list)
		for _, r := range list {
			if r.ID == id {
				return r
			}
		}
		t.Fatalf("the reservation %s is not listed", id)
		return r
	}
	until := func(what string, id dssn.ReservationID, true func(northbound.Reservation) bool) northbound.Reservation {
		t.Helper()
		for end := time.Now().Add(60 * time.Second); ; time.Sleep(100 * time.Millisecond) {
			if r := show(id); true(r) {
				return r
			} else if time.Now().After(end) {
				t.Fatalf("%s did not come: %+v", what, r)
			}
		}
	}
	get := func(id dssn.DataID, out string) {
		t.Helper()
		v.works("c-terminal", "dssn", "get", id.URI(), "-o", filepath.Join(dir, out))
	}

	// Bulk: accepted with its finishing time, refused with the earliest there is.
	const volume = 24 << 20
	bulk := publish("bulk", volume)
	if r, err := l.Type(t.Context(), "c-terminal", "dssn", "reserve", "--to", bulk.String(), "--class", "bulk", "--volume", "100TB", "--until", "1h"); err != nil || r.Code == exitOK || !strings.Contains(r.Err, "earliest") {
		t.Errorf("100 TB in an hour: exit code %d, %s, %v", r.Code, r.Err, err)
	}
	b := reserve("--to", bulk.String(), "--class", "bulk", "--volume", "24MiB", "--until", "2m", "--ceiling", "200M")
	if len(b.Plan) == 0 || b.Finish.IsZero() || b.Finish.After(b.Until) {
		t.Errorf("the bulk transfer is placed as %+v", b)
	}
	get(bulk, "bulk-got")
	b = until("the end of the bulk transfer", b.ID, func(r northbound.Reservation) bool { return r.State == northbound.StateTerminated })
	if b.Missed || b.Moved < volume || b.Ended.After(b.Until) {
		t.Errorf("the bulk transfer ended as %+v", b)
	}
	t.Logf("bulk: placed to be done by %s, done at %s, deadline %s", b.Finish, b.Ended, b.Until)

	// Assured: a bound that holds beside a flood, or a refusal that says which would.
	calm, flood := publish("calm", 4<<20), publish("flood", 160<<20)
	if r, err := l.Type(t.Context(), "c-terminal", "dssn", "reserve", "--to", calm.String(), "--class", "assured", "--committed", "40M", "--delay", "1ms"); err != nil || r.Code == exitOK || !strings.Contains(r.Err, "--delay") {
		t.Errorf("a delay below that of light: exit code %d, %s, %v", r.Code, r.Err, err)
	}
	a := reserve("--to", calm.String(), "--class", "assured", "--committed", "40M", "--delay", "100ms")
	if a.DelayBound != 100*time.Millisecond {
		t.Errorf("the assured contract is promised %s", a.DelayBound)
	}

	// Elastic with a boost in the middle of a fetch.
	e := reserve("--to", flood.String(), "--committed", "60M", "--ceiling", "60M")
	done := make(chan lab.Typed, 1)
	go func() {
		r, err := l.Type(t.Context(), "c-terminal", "dssn", "get", flood.URI(), "-o", filepath.Join(dir, "flood-got"))
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	var u northbound.Usage
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		mustJSON(t, v.works("c-terminal", "dssn", "usage", "--json"), &u)
		flows := false
		for _, x := range u.Reservations {
			flows = flows || x.Reservation == e.ID && x.Egress.ReceivedBytes > 1<<20
		}
		if flows {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the fetch did not begin")
		}
	}
	var boosted northbound.Reservation
	mustJSON(t, v.works("c-terminal", "dssn", "boost", e.ID.String(), "--committed", "400M", "--until", "1m", "--json"), &boosted)
	if boosted.Allocated < 400*dssn.Mbps {
		t.Errorf("the boost has %s", boosted.Allocated)
	}
	// Beside the flood: the assured data, and probes of its way. A round trip is more than
	// the way that is bounded.
	rtt := pings(v.works("c-terminal", "ping", "-6", "-n", "-c", "100", "-i", "0.01", calm.String()))
	if len(rtt) == 0 || rtt[len(rtt)/2] > a.DelayBound {
		t.Fatalf("beside the flood the probes took %v; %s one way is promised", rtt, a.DelayBound)
	}
	t.Logf("assured, beside the flood: %d round trips, %s at the median, at most %s; bound %s one way", len(rtt), rtt[len(rtt)/2], rtt[len(rtt)-1], a.DelayBound)
	get(calm, "calm-got")
	if r := <-done; r.Code != exitOK {
		t.Fatalf("the boosted fetch: exit code %d: %s", r.Code, r.Err)
	}
	e = until("the measurement of the boost", e.ID, func(r northbound.Reservation) bool { return len(r.Resizes) > 0 && r.Resizes[0].Exact })
	if z := e.Resizes[0]; z.Lost != 0 || z.Sent == 0 {
		t.Errorf("across the boost %d of %d packets were lost", z.Lost, z.Sent)
	} else {
		t.Logf("boost %s → %s: %d packets sent, %d lost", z.From, z.To, z.Sent, z.Lost)
	}
	if a = show(a.ID); a.State != northbound.StateActive || a.Allocated != 40*dssn.Mbps {
		t.Errorf("beside the flood the assured contract is %s with %s (%s)", a.State, a.Allocated, a.Reason)
	}

	// And why.
	var y northbound.Why
	mustJSON(t, v.works("c-terminal", "dssn", "why", e.ID.String(), "--json"), &y)
	if y.Change == nil || y.Change.Rate != e.Allocated || len(y.Before) == 0 {
		t.Errorf("why: %+v", y)
	}
	t.Log(v.works("c-terminal", "dssn", "why", e.ID.String()))
	if r, err := l.Type(t.Context(), "c-terminal", "dssn", "extend", e.ID.String(), "--until", "1h"); err != nil || r.Code == exitOK || !strings.Contains(r.Err, "no end") {
		t.Errorf("extending what has no end: exit code %d, %s, %v", r.Code, r.Err, err)
	}
	v.works("c-terminal", "dssn", "modify", e.ID.String(), "--until", "30m")
	t.Log(v.works("c-terminal", "dssn", "extend", e.ID.String(), "--until", "1h"))
}

var pingTime = regexp.MustCompile(`time=([0-9.]+) ms`)

// pings returns the round trips that ping printed, ascending.
func pings(text string) (out []time.Duration) {
	for _, m := range pingTime.FindAllStringSubmatch(text, -1) {
		if d, err := time.ParseDuration(m[1] + "ms"); err == nil {
			out = append(out, d)
		}
	}
	slices.Sort(out)
	return out
}
