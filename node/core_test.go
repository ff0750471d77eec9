package node

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dssn"
	"dssn/controller/southbound"
	"dssn/node/kernel"
	"dssn/node/liveness"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the transcripts in testdata")

// A transcript is a file of lines that begin with "> ", each an input, followed
// by the effects that came of it. Hellos and probes are answered by the test
// where the line "answer" says so, and counted instead of shown:
//
//	> node west terminal 100          begin; "drives" behind it: transit in the driver
//	> assign 1                        the Assignment testdata/assignment.go gives
//	> link uplink up|down|gone
//	> hello uplink fe80::1 hub 11 heard=west
//	> answer on|off CARRIER           probes to the carrier are answered after 4 ms
//	> open on|off                     the answers say that the peer's tunnel is open
//	> data ID …
//	> attached
//	> published 1, realised 1         what the shell reports
//	> 100ms                           time passes, in ticks of 5 ms
type script struct {
	t      *testing.T
	now    time.Time
	core   *Core
	role   southbound.Role
	answer map[dssn.Carrier]bool
	open   bool
	due    []struct {
		at    time.Time
		probe liveness.Probe
	}
	out            strings.Builder
	hellos, probes int
}

func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s := &script{t: t, now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), answer: map[dssn.Carrier]bool{}}
			for line := range strings.Lines(string(want)) {
				line = strings.TrimRight(line, "\n")
				switch {
				case strings.HasPrefix(line, "> "):
					s.out.WriteString(line + "\n")
					s.input(strings.Fields(line[2:]))
				case line == "" || strings.HasPrefix(line, "#"):
					s.out.WriteString(line + "\n")
				}
			}
			got := s.out.String()
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("the transcript changed (-want +got); if that is meant, run with -rewrite:\n%s", d)
			}
		})
	}
}

func (s *script) input(f []string) {
	switch f[0] {
	case "node":
		s.role = southbound.Role(f[2])
		sid, err := dssn.ParseSID(f[3])
		if err != nil {
			s.t.Fatal(err)
		}
		self := Self{Node: scriptNode(sid), Name: f[1], Role: s.role, SID: sid, Block: dssn.LabBlock, Shifts: true, Steers: true, Workers: 2}
		if s.role == southbound.RoleTerminal {
			self.Inside = InsideInterface
		}
		self.Drives = len(f) > 4 && f[4] == "drives"
		s.core = NewCore(s.now, self)
	case "assign":
		g, _ := strconv.ParseUint(f[1], 10, 64)
		s.step(Assigned{s.assignment(g), len(f) > 2 && f[2] == "disk"})
	case "link":
		s.step(LinkSeen{kernel.Link{Name: f[1], Index: 7, MTU: 1500, Up: f[2] == "up", Gone: f[2] == "gone"}})
	case "hello":
		sid, _ := dssn.ParseSID(f[4])
		s.step(HelloHeard{f[1], netip.MustParseAddr(f[2]), liveness.Hello{Name: f[3], SID: sid, Heard: strings.TrimPrefix(f[5], "heard=")}})
	case "answer":
		c, err := dssn.ParseCarrier(f[2])
		if err != nil {
			s.t.Fatal(err)
		}
		s.answer[c] = f[1] == "on"
	case "open":
		s.open = f[1] == "on"
	case "data":
		var in DataHeld
		for _, text := range f[1:] {
			id, err := dssn.ParseDataID(text)
			if err != nil {
				s.t.Fatal(err)
			}
			in.Data = append(in.Data, id)
		}
		s.step(in)
	case "attached":
		s.step(Attached{})
	case "published":
		g, _ := strconv.ParseUint(f[1], 10, 64)
		s.step(Published{g, strings.Join(f[2:], " ")})
	case "realised":
		g, _ := strconv.ParseUint(f[1], 10, 64)
		s.step(Realised{g, strings.Join(f[2:], " ")})
	default:
		d, err := time.ParseDuration(f[0])
		if err != nil {
			s.t.Fatalf("no such input: %q", f)
		}
		s.pass(d)
	}
	if s.hellos+s.probes > 0 {
		fmt.Fprintf(&s.out, "(%d hellos, %d probes)\n", s.hellos, s.probes)
		s.hellos, s.probes = 0, 0
	}
}

// pass lets time pass; what is shown is when since the line began.
func (s *script) pass(d time.Duration) {
	for end := s.now.Add(d); s.now.Before(end); {
		s.now = s.now.Add(5 * time.Millisecond)
		due := s.due
		s.due = nil
		for _, a := range due {
			if a.at.After(s.now) {
				s.due = append(s.due, a)
				continue
			}
			s.step(ProbeAnswered{a.probe})
		}
		s.step(Tick{})
	}
}

func (s *script) step(in Input) {
	for _, e := range s.core.Step(s.now, in) {
		switch e := e.(type) {
		case SendHello:
			s.hellos++
		case SendProbe:
			s.probes++
			if s.answer[e.Carrier] {
				s.due = append(s.due, struct {
					at    time.Time
					probe liveness.Probe
				}{s.now.Add(4 * time.Millisecond), e.Probe.Reflect(s.open)})
			}
		default:
			fmt.Fprintf(&s.out, "%s %s\n", s.now.Format("05.000"), show(e))
		}
	}
}

// show writes an effect on one line, or a plan on several.
func show(e Effect) string {
	switch e := e.(type) {
	case SetKernel:
		var b strings.Builder
		fmt.Fprintf(&b, "SetKernel generation %d adopt %v", e.Generation, e.Adopt)
		for _, a := range e.Plan.Addresses {
			fmt.Fprintf(&b, "\n       address %v dev %s", a.Prefix, a.Interface)
		}
		for _, r := range e.Plan.Routes {
			fmt.Fprintf(&b, "\n       %v %v dev %s via %v src %v metric %d", r.Kind, r.Prefix, r.Interface, r.Via, r.Source, r.Metric)
		}
		for _, v := range e.Plan.Settings {
			fmt.Fprintf(&b, "\n       %s = %s", v.Name, v.Value)
		}
		return b.String()
	case SetTransit:
		var b strings.Builder
		fmt.Fprintf(&b, "SetTransit adopt %v in by %v", e.Adopt, e.Plan.Links)
		if len(e.Plan.Terminals) > 0 {
			fmt.Fprintf(&b, ", terminals %v", e.Plan.Terminals)
		}
		for _, m := range e.Plan.Meters {
			fmt.Fprintf(&b, "\n       meter tag %d class %d of %x from %v: %d bit/s, burst %d, without %d a packet", m.Tag, m.Class, m.Owner, m.Source, m.BitsPerSecond, m.BurstBytes, m.OverheadBytes)
		}
		for _, r := range e.Plan.Routes {
			fmt.Fprintf(&b, "\n       %v via %v (%v) dev %s", r.SID, r.Via.Address, r.Via.SID, r.Via.Interface)
			if r.Backup != (TransitHop{}) {
				fmt.Fprintf(&b, ", backup %v (%v) dev %s", r.Backup.Address, r.Backup.SID, r.Backup.Interface)
			}
		}
		return b.String()
	case PublishTables:
		var b strings.Builder
		fmt.Fprintf(&b, "PublishTables generation %d", e.Tables.Generation)
		for _, p := range e.Tables.Peers {
			fmt.Fprintf(&b, "\n       peer %v keepalive %v allowed %v", p.Endpoint, p.Keepalive, p.Allowed)
			for _, l := range p.Lanes {
				fmt.Fprintf(&b, "\n            lane of worker %d to %v, part %d", l.Worker, l.Endpoint, l.Part)
			}
		}
		for _, m := range e.Tables.Meters {
			fmt.Fprintf(&b, "\n       meter %v %v → %v rate %v burst %d", m.Reservation, m.From, m.To, m.Rate, m.Burst)
			if len(m.Parts) > 0 {
				fmt.Fprintf(&b, " parts %v", m.Parts)
			}
			if m.Mark != 0 {
				fmt.Fprintf(&b, " class %#x label %d", m.Mark.Class(), m.Mark.Label())
			}
		}
		return b.String()
	case SetProbePeers:
		var b strings.Builder
		fmt.Fprintf(&b, "SetProbePeers gate %v", e.Gate)
		for sid, p := range e.Peers {
			fmt.Fprintf(&b, " %v open %v", sid, p.Open)
		}
		return b.String()
	case SetAdmission:
		return fmt.Sprintf("SetAdmission generation %d", e.Assignment.Generation)
	case Persist:
		return fmt.Sprintf("Persist generation %d", e.Assignment.Generation)
	case SendUp:
		switch {
		case e.Up.Adjacencies != nil:
			return fmt.Sprintf("SendUp adjacencies %+v", e.Up.Adjacencies.Links)
		case e.Up.Applied != nil:
			return fmt.Sprintf("SendUp applied %+v", *e.Up.Applied)
		case e.Up.Paths != nil:
			out := "SendUp paths"
			for _, p := range e.Up.Paths.States {
				out += fmt.Sprintf(" [%v alive %v in use %v]", p.Carrier, p.Alive, p.InUse)
			}
			return out
		}
	case Switched:
		return fmt.Sprintf("Switched to %s by %v: %s (silent %v)", e.Name, e.Hops, e.Switch.Why, e.Switch.Silent)
	}
	return strings.TrimPrefix(fmt.Sprintf("%T%+v", e, e), "node.")
}

// scriptNode mints something that is a NodeID.
func scriptNode(sid dssn.SID) dssn.NodeID {
	id, err := dssn.ParseNodeID(fmt.Sprintf("3fff:d55:1:%x:1:0:0:%x", uint16(sid), uint16(sid)))
	if err != nil {
		panic(err)
	}
	return id
}

// assignment is the one of the transcripts: generation 2 and later have another
// meter rate and, for a terminal, the southern path first.
func (s *script) assignment(g uint64) *southbound.Assignment {
	a := &southbound.Assignment{Generation: g, Node: s.core.self.Node, SID: s.core.self.SID, Block: dssn.LabBlock, Steering: true}
	neighbour := func(name string, sid dssn.SID) dssn.NodeID {
		a.Neighbours = append(a.Neighbours, southbound.Neighbour{Node: scriptNode(sid), Name: name, SID: sid})
		return scriptNode(sid)
	}
	if s.role == southbound.RoleBackbone && g == 8 { // a terminal, and its contract
		neighbour("west", 0x100)
		a.Neighbours[0].Terminal = true
		a.Transit = []southbound.TransitMeter{{Reservation: 0x1b, Tag: 7, Class: dssn.ClassAssured, Source: 0x100, Committed: 5e8, Ceiling: 1e9, Burst: 1e6}}
	}
	if s.role == southbound.RoleBackbone {
		north, south := neighbour("north", 0x12), neighbour("south", 0x13)
		a.Routes = []southbound.Route{
			{Prefix: dssn.SID(0x12).Locator(dssn.LabBlock), Via: north},
			{Prefix: dssn.SID(0x13).Locator(dssn.LabBlock), Via: south},
			{Prefix: dssn.SID(0x14).Locator(dssn.LabBlock), Via: north, Backup: south},
		}
		return a
	}
	a.Routes = []southbound.Route{{Prefix: dssn.LabBlock, Via: neighbour("hub", 0x11)}}
	p := southbound.Peer{Node: scriptNode(0x101), Name: "east", SID: 0x101, TunnelKey: make([]byte, 32), PresharedKey: make([]byte, 32), Port: TunnelPort,
		Allowed: []netip.Prefix{scriptNode(0x101).DataID().Prefix()}}
	path := func(middle dssn.SID, name string) southbound.Path {
		there, _ := dssn.NewCarrier(dssn.LabBlock, 0x11, middle, 0x14, 0x101)
		back, _ := dssn.NewCarrier(dssn.LabBlock, 0x14, middle, 0x11, 0x100)
		return southbound.Path{Carrier: there, Return: back, Hops: []string{"west", "hub", name, "far", "east"}}
	}
	p.Paths = []southbound.Path{path(0x12, "north"), path(0x13, "south")}
	rate := dssn.Bandwidth(1e9)
	if g > 1 {
		p.Paths[0], p.Paths[1] = p.Paths[1], p.Paths[0]
		rate = 2e9
	}
	if g == 5 { // a worker and a path more
		p.Lanes = []southbound.Lane{{Here: 0, There: 0}, {Here: 1, There: 1, Path: 1}, {Here: 7, There: 0}}
	}
	a.Peers = []southbound.Peer{p}
	a.Meters = []southbound.Meter{
		{Reservation: 1, From: s.core.self.Node.DataID().Prefix(), To: scriptNode(0x101).DataID().Prefix(), Ingress: true, Allocated: rate, Burst: 1e6},
		{Reservation: 2, From: scriptNode(0x101).DataID().Prefix(), To: s.core.self.Node.DataID().Prefix(), Allocated: rate, Burst: 1e6},
	}
	if g == 8 {
		a.Meters[0].Tag, a.Meters[0].Class = 7, dssn.ClassAssured
	}
	if g == 5 {
		a.Meters[0].Parts = []dssn.Bandwidth{rate / 2, rate / 4}
	}
	return a
}

func TestAnAssignmentWithASuiteThatIsNotKnownIsRefused(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	s := &script{role: southbound.RoleTerminal}
	s.core = NewCore(now, Self{Node: scriptNode(0x100), Name: "west", Role: s.role, SID: 0x100, Block: dssn.LabBlock, Inside: InsideInterface})
	good := s.assignment(1)
	good.Peers[0].Suite = southbound.SuiteAES256GCM
	s.core.Step(now, Assigned{Assignment: good})
	bad := s.assignment(2)
	bad.Peers[0].Suite = "ROT-13"
	for _, e := range s.core.Step(now, Assigned{Assignment: bad}) {
		if up, ok := e.(SendUp); ok && up.Up.Applied != nil {
			if want := `the assignment wants the tunnel with east sealed by "ROT-13", which this version cannot: upgrade this node`; up.Up.Applied.Problem != want {
				t.Errorf("the problem is %q, want %q", up.Up.Applied.Problem, want)
			}
			if g := s.core.Assignment().Generation; g != 1 {
				t.Errorf("generation %d is in force, want 1", g)
			}
			return
		}
	}
	t.Error("nobody was told")
}
