package core_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"dssn"
	"dssn/content"
	"dssn/controller/core"
	"dssn/controller/ledger"
	"dssn/controller/northbound"
	"dssn/controller/southbound"
)

// square is a ring of four hubs, a–b–c fast and wide, a–d–c slow and narrow.
const square = `{"format":"te-topology/1","name":"square","nodes":[
{"name":"a","sid":"11"},{"name":"b","sid":"12"},{"name":"c","sid":"13"},{"name":"d","sid":"14"}],"links":[
{"src":0,"dst":1,"bps":10000000000,"latency_us":1000},{"src":1,"dst":0,"bps":10000000000,"latency_us":1000},
{"src":1,"dst":2,"bps":10000000000,"latency_us":1000},{"src":2,"dst":1,"bps":10000000000,"latency_us":1000},
{"src":0,"dst":3,"bps":4000000000,"latency_us":2000},{"src":3,"dst":0,"bps":4000000000,"latency_us":2000},
{"src":3,"dst":2,"bps":4000000000,"latency_us":2000},{"src":2,"dst":3,"bps":4000000000,"latency_us":2000}]}`

var epoch = time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)

// entry is one input with its time, as a journal keeps it.
type entry struct {
	at   time.Time
	body []byte
}

// script drives a core by lines of text; everything random is derived from
// names, so a script always gives the same answers.
type script struct {
	t       *testing.T
	c       *core.Core
	now     time.Time
	journal []entry
	leaves  int64
	n       int // of identifiers drawn
	data    map[string]dssn.DataID
	grants  map[string]string
	tokens  map[string]string
	res     map[string]dssn.ReservationID
	out     bytes.Buffer
	bills   map[string]*northbound.BillFile // issued ones, by number
	tags    map[dssn.ReservationID]uint32   // as of the last checkTags
	alone   bool                            // no twin can be made of the state
}

func newScript(t *testing.T) *script {
	s := &script{t: t, c: core.New(), now: epoch, data: map[string]dssn.DataID{}, grants: map[string]string{}, tokens: map[string]string{}, res: map[string]dssn.ReservationID{}, bills: map[string]*northbound.BillFile{}}
	return s
}

func seed(parts ...string) []byte {
	sum := sha256.Sum256([]byte(strings.Join(parts, " ")))
	return sum[:]
}

func identity(node string) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(seed("identity", node)) }
func signer(inst string) ed25519.PrivateKey   { return ed25519.NewKeyFromSeed(seed("registrant", inst)) }

// step journals an input, as the shell does, and steps the core.
func (s *script) step(in core.Input) (core.Reply, error) {
	s.t.Helper()
	body, err := json.Marshal(&in)
	if err != nil {
		s.t.Fatal(err)
	}
	s.journal = append(s.journal, entry{s.now, body})
	var back core.Input
	if err := json.Unmarshal(body, &back); err != nil {
		s.t.Fatal(err)
	}
	r, effects, err := s.c.Step(s.now, back)
	s.carry(effects)
	s.twin()
	return r, err
}

// twin computes every assignment anew from the state alone and compares it with
// what the step brought up to date.
func (s *script) twin() {
	s.t.Helper()
	if s.alone {
		return
	}
	snap, err := s.c.Snapshot()
	if err != nil {
		s.t.Fatal(err)
	}
	anew, err := core.Restore(snap)
	if err != nil {
		s.t.Fatal(err)
	}
	if got, want := s.c.Derived(), anew.Derived(); got != want {
		s.t.Fatalf("what is kept beside the state was not brought up to date:\n%s\nanew it is\n%s", got, want)
	}
	for _, n := range s.c.Status(operator).Nodes {
		got, _ := json.Marshal(s.c.Assignment(n.Name))
		want, _ := json.Marshal(anew.Assignment(n.Name))
		if !bytes.Equal(got, want) {
			s.t.Fatalf("the assignment of %s was not brought up to date:\n%s\nanew it is\n%s", n.Name, got, want)
		}
	}
}

func (s *script) carry(effects []core.Effect) {
	for _, f := range effects {
		switch {
		case f.Event != nil:
			fmt.Fprintf(&s.out, "  %s: %s\n", f.Event.Kind, f.Event.Detail)
		case f.Leaf != nil:
			if f.Leaf.Index != s.leaves {
				s.t.Errorf("leaf %d came after %d leaves", f.Leaf.Index, s.leaves)
			}
			s.leaves++
			var k struct {
				Kind string `json:"kind"`
			}
			if err := json.Unmarshal(f.Leaf.Data, &k); err != nil || k.Kind == "" {
				s.t.Errorf("leaf %d has no kind: %s", f.Leaf.Index, f.Leaf.Data)
			}
			fmt.Fprintf(&s.out, "  leaf %d: %s\n", f.Leaf.Index, k.Kind)
		case f.Assignment != nil:
			fmt.Fprintf(&s.out, "  assign %s %s\n", s.c.NodeName(f.Assignment.Node), describe(f.Assignment))
		case f.Document != nil:
			s.keep(f.Document)
		case !f.Disconnect.IsZero():
			fmt.Fprintf(&s.out, "  disconnect %s\n", f.Disconnect)
		}
	}
}

func describe(a *southbound.Assignment) string {
	var b strings.Builder
	fmt.Fprintf(&b, "generation %d: %d neighbours, %d routes", a.Generation, len(a.Neighbours), len(a.Routes))
	for _, r := range a.Routes {
		if !r.Backup.IsZero() {
			b.WriteString(" (with backup)")
			break
		}
	}
	for _, p := range a.Peers {
		fmt.Fprintf(&b, "; peer %s", p.Name)
		if p.Suite != southbound.SuiteChaCha20Poly1305 {
			fmt.Fprintf(&b, " (%v)", p.Suite)
		}
		for i, l := range p.Lanes {
			fmt.Fprintf(&b, "%s%d-%d", map[bool]string{true: " lanes ", false: ","}[i == 0], l.Here, l.There)
			if l.Path > 0 {
				fmt.Fprintf(&b, " by path %d", l.Path)
			}
		}
		for _, w := range p.Paths {
			fmt.Fprintf(&b, " %s[%s]", strings.Join(w.Hops, ">"), w.Carrier.Path())
		}
	}
	for _, m := range a.Meters {
		if m.Class != dssn.ClassBackground {
			fmt.Fprintf(&b, "; meter %s %s", m.Class, m.Allocated)
			if len(m.Parts) > 0 {
				fmt.Fprintf(&b, " in parts %v", m.Parts)
			}
			if m.Tag != 0 {
				fmt.Fprintf(&b, " tag %d", m.Tag)
			}
		}
	}
	if len(a.Meters) > 0 {
		fmt.Fprintf(&b, "; %d meters", len(a.Meters))
	}
	for _, m := range a.Transit {
		fmt.Fprintf(&b, "; transit tag %d %s from %s up to %s", m.Tag, m.Class, m.Source, m.Ceiling)
	}
	if len(a.Permits) > 0 {
		fmt.Fprintf(&b, "; %d permits", len(a.Permits))
		for _, p := range a.Permits {
			if p.Limit > 0 {
				fmt.Fprintf(&b, " (%d of %d transfers begun)", len(p.Begun), p.Limit)
			}
		}
	}
	return b.String()
}

var operator = core.Principal{Operator: true, Institution: northbound.OperatorInstitution}

// by is the principal that a word names: operator or a node.
func (s *script) by(word string) core.Principal {
	if word == "operator" {
		return operator
	}
	for _, p := range s.c.People(operator) {
		if p.Name == word {
			return core.Principal{Person: word, Institution: p.Institution, Role: p.Role, Operator: p.Role == northbound.RoleOperator}
		}
	}
	for _, n := range s.c.Status(operator).Nodes {
		if n.Name == word {
			return core.Principal{Node: word, Institution: n.Institution}
		}
	}
	return core.Principal{Node: word}
}

func (s *script) dataset(word string) dssn.DataID {
	if id, ok := s.data[word]; ok {
		return id
	}
	id, _ := dssn.ParseDataID(word)
	return id
}

func (s *script) node(name string) dssn.NodeID {
	for _, n := range s.c.Status(operator).Nodes {
		if n.Name == name {
			return n.Node
		}
	}
	return dssn.NodeID{}
}

// terms reads the conditions of a grant.
func terms(w []string) (t northbound.Terms) {
	list := func(name string) []string {
		return strings.FieldsFunc(option(w, name), func(r rune) bool { return r == ',' })
	}
	for _, v := range list("grades") {
		g, _ := dssn.ParseGrade(v)
		t.Grades = append(t.Grades, g)
	}
	for _, v := range list("categories") {
		c, _ := dssn.ParseCategory(v)
		t.Categories = append(t.Categories, c)
	}
	for _, v := range list("window") {
		p := strings.SplitN(v, "/", 4)
		win := northbound.Window{From: p[1], To: p[2], Zone: p[3]}
		if p[0] != "" {
			win.Days = strings.Split(p[0], "+")
		}
		t.Windows = append(t.Windows, win)
	}
	n, _ := strconv.ParseUint(option(w, "quota"), 10, 64)
	t.Quota, t.Hubs, t.Purpose = dssn.ByteCount(n), list("hubs"), option(w, "purpose")
	t.Transfers, _ = strconv.Atoi(option(w, "transfers"))
	return t
}

func option(words []string, name string) string {
	for _, w := range words {
		if v, ok := strings.CutPrefix(w, name+"="); ok {
			return v
		}
	}
	return ""
}

func rate(s string) dssn.Bandwidth {
	b, err := dssn.ParseBandwidth(s)
	if err != nil {
		return 0
	}
	return b
}

// do runs one line and returns what was answered, or the refusal.
func (s *script) do(line string) (string, error) {
	s.t.Helper()
	w := strings.Fields(line)
	arg := func(i int) string {
		if i < len(w) {
			return w[i]
		}
		return ""
	}
	s.n++
	if answer, err, ok := s.qod(w); ok {
		return answer, err
	}
	switch w[0] {
	case "configure":
		_, err := s.step(core.Input{Configure: &core.Configure{Topology: square, Block: dssn.LabBlock, Operator: netip.MustParsePrefix("3fff:d55::/32"), Secret: seed("secret")}})
		return "configured", err
	case "institution":
		r, err := s.step(core.Input{AddInstitution: &core.AddInstitution{By: operator, Request: northbound.InstitutionRequest{Name: arg(1)}}})
		if err != nil {
			return "", err
		}
		return r.Institution.Registrant.String(), nil
	case "token": // token NODE ROLE [INSTITUTION] [ttl=] [sid=] [access=]
		q := northbound.TokenRequest{Node: arg(1), Role: southbound.Role(arg(2)), Institution: arg(3), Access: rate(option(w, "access"))}
		if strings.Contains(q.Institution, "=") {
			q.Institution = ""
		}
		q.TTLSeconds, _ = strconv.ParseInt(option(w, "ttl"), 10, 64)
		q.SID, _ = dssn.ParseSID(option(w, "sid"))
		_, err := s.step(core.Input{CreateToken: &core.CreateToken{By: operator, Request: q, ID: fmt.Sprintf("t-%d", s.n), Hash: seed("token", arg(1))}})
		if err == nil {
			s.tokens[arg(1)] = fmt.Sprintf("t-%d", s.n)
		}
		return "token", err
	case "join": // join NODE [token=] [as=]
		token, as := arg(1), arg(1)
		if v := option(w, "token"); v != "" {
			token = v
		}
		if v := option(w, "as"); v != "" {
			as = v
		}
		in := &core.Join{Token: s.tokens[token], Hash: seed("token", token), Key: identity(as).Public().(ed25519.PublicKey), TunnelKey: seed("tunnel", as),
			RegistrantKey: signer(strings.TrimRight(as, "-0123456789")).Public().(ed25519.PublicKey), Features: southbound.Features{NextCSID: true, CarrierEgress: true}}
		r, err := s.step(core.Input{Join: in})
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s %s SID %s", r.Node.Name, r.Node.Node, r.Node.SID), nil
	case "hello": // hello NODE [aes] [workers=] [generation=]
		f := southbound.Features{NextCSID: true, CarrierEgress: true, AES256GCM: arg(2) == "aes"}
		f.Workers, _ = strconv.Atoi(option(w, "workers"))
		has, _ := strconv.ParseUint(option(w, "generation"), 10, 64)
		_, err := s.step(core.Input{Hello: &core.Hello{Node: arg(1), Features: f, Generation: has}})
		return "said", err
	case "remove":
		_, err := s.step(core.Input{RemoveNode: &core.RemoveNode{By: operator, Node: arg(1)}})
		return "removed", err
	case "see": // see NODE NEIGHBOUR…
		in := &core.Adjacencies{Node: arg(1)}
		for _, n := range w[2:] {
			in.Links = append(in.Links, southbound.Adjacency{Interface: "to-" + n, Neighbour: n, Up: true})
		}
		_, err := s.step(core.Input{Adjacencies: in})
		return "seen", err
	case "publish": // publish NODE NAME BYTES [content=] [as=INSTITUTION]
		inst := s.by(arg(1)).Institution
		if v := option(w, "as"); v != "" {
			inst = v
		}
		r := s.record(inst, arg(2), arg(3), option(w, "content"), option(w, "grade"))
		reply, err := s.step(core.Input{Publish: &core.Publish{By: s.by(arg(1)), Holder: arg(1), Record: r}})
		if err != nil {
			return "", err
		}
		s.data[arg(2)] = r.ID
		return reply.Dataset.Record.ID.String(), nil
	case "resolve": // resolve NODE DATA
		r, err := s.c.Resolve(s.by(arg(1)), s.dataset(arg(2)))
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s held by %s, path %s", r.Dataset.Record.Name, r.Holder, strings.Join(r.Path, ">")), nil
	case "policy": // policy BY CEDAR…, one line
		r, err := s.step(core.Input{SetPolicy: &core.SetPolicy{By: s.by(arg(1)), Request: northbound.PolicyRequest{Text: strings.ReplaceAll(strings.Join(w[2:], " "), " ⏎ ", "\n")}}})
		if err != nil {
			return "", err
		}
		return fmt.Sprint(r.Policy.Policies), nil
	case "reach": // reach BY NODE DATA
		r, err := s.c.Reach(s.by(arg(1)), northbound.ReachRequest{Node: arg(2), Data: s.dataset(arg(3))})
		return fmt.Sprintf("%v: %s", r.Allowed, r.Detail), err
	case "roles": // roles BY PARTY ROLE…
		r, err := s.step(core.Input{SetRoles: &core.SetRoles{By: s.by(arg(1)), Request: northbound.RoleRequest{Party: arg(2), Roles: w[3:]}}})
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s %v", r.Roles.Institution, r.Roles.Roles), nil
	case "granted": // granted DATA: how the last grant of it stands
		for _, g := range s.c.Grants(operator) {
			if g.ID == s.grants[arg(1)] {
				var rules []string
				for _, r := range g.Rules {
					rules = append(rules, fmt.Sprintf("%s %s by %v", r.Rule, r.Value, r.Enforced))
				}
				return fmt.Sprintf("used %s, begun %d, shut %v, ended %q; %s", g.Used, len(g.Begun), g.Shut, g.Reason, strings.Join(rules, "; ")), nil
			}
		}
		return "none", nil
	case "grant": // grant BY DATA TO SECONDS [grades=] [categories=] [window=DAYS/FROM/TO/ZONE] [quota=] [transfers=] [hubs=] [purpose=]
		until, _ := strconv.Atoi(arg(4))
		p := s.dataset(arg(2)).Prefix()
		if q, err := netip.ParsePrefix(arg(2)); err == nil {
			p = q
		}
		r, err := s.step(core.Input{Grant: &core.Grant{By: s.by(arg(1)), ID: fmt.Sprintf("g-%d", s.n),
			Request: northbound.GrantRequest{Data: p, To: arg(3), Until: s.now.Add(time.Duration(until) * time.Second), Terms: terms(w)}}})
		if err != nil {
			return "", err
		}
		s.grants[arg(2)] = r.Grant.ID
		return r.Grant.ID, nil
	case "revoke": // revoke BY DATA
		_, err := s.step(core.Input{Revoke: &core.Revoke{By: s.by(arg(1)), ID: s.grants[arg(2)]}})
		return "revoked", err
	case "quote", "hold", "reserve": // reserve NODE DATA [committed=] [ceiling=] [class=] [for=]
		q := northbound.ReservationRequest{Data: s.dataset(arg(2)), Committed: rate(option(w, "committed")), Ceiling: rate(option(w, "ceiling")), Class: dssn.ClassElastic}
		if c := option(w, "class"); c != "" {
			q.Class, _ = dssn.ParseClass(c)
		}
		if v := option(w, "for"); v != "" {
			n, _ := strconv.Atoi(v)
			q.Until = s.now.Add(time.Duration(n) * time.Second)
		}
		if v := option(w, "from"); v != "" { // seconds from now
			n, _ := strconv.Atoi(v)
			q.Start = s.now.Add(time.Duration(n) * time.Second)
			if !q.Until.IsZero() {
				q.Until = q.Until.Add(time.Duration(n) * time.Second)
			}
		}
		q.Volume, _ = dssn.ParseByteCount(option(w, "volume"))
		q.Burst, _ = dssn.ParseByteCount(option(w, "burst"))
		q.MaxDelay, _ = time.ParseDuration(option(w, "delay"))
		q.Priority, _ = strconv.Atoi(option(w, "priority"))
		q.HoldSeconds, _ = strconv.ParseInt(option(w, "hold"), 10, 64)
		if w[0] == "quote" {
			r, err := s.c.Quote(s.now, s.by(arg(1)), q)
			return fmt.Sprintf("admitted %v: %s", r.Admitted, r.Detail) + planText(r.Plan), err
		}
		id := dssn.ReservationID(s.n)
		r, err := s.step(core.Input{Reserve: &core.Reserve{By: s.by(arg(1)), ID: id, Request: q, Bounds: option(w, "bounds") != "no"}})
		if err != nil {
			return "", err
		}
		s.res[arg(1)+"/"+arg(2)+option(w, "as")] = id
		if w[0] == "reserve" {
			r, err = s.step(core.Input{Commit: &core.Commit{By: s.by(arg(1)), ID: id}})
		}
		return shown(r.Reservation), err
	case "commit", "release", "modify", "extend", "boost", "show", "why": // commit NODE DATA [as=]
		id := s.res[arg(1)+"/"+arg(2)+option(w, "as")]
		seconds := func(name string) time.Time {
			n, err := strconv.Atoi(option(w, name))
			if err != nil {
				return time.Time{}
			}
			return s.now.Add(time.Duration(n) * time.Second)
		}
		var r core.Reply
		var err error
		switch w[0] {
		case "commit":
			r, err = s.step(core.Input{Commit: &core.Commit{By: s.by(arg(1)), ID: id}})
		case "release":
			r, err = s.step(core.Input{Release: &core.Release{By: s.by(arg(1)), ID: id}})
		case "modify":
			q := northbound.ModifyRequest{}
			if v := option(w, "committed"); v != "" {
				b := rate(v)
				q.Committed = &b
			}
			if v := option(w, "ceiling"); v != "" {
				b := rate(v)
				q.Ceiling = &b
			}
			q.Until = seconds("for")
			q.Priority, _ = strconv.Atoi(option(w, "priority"))
			r, err = s.step(core.Input{Modify: &core.Modify{By: s.by(arg(1)), ID: id, Request: q}})
		case "extend":
			r, err = s.step(core.Input{Extend: &core.Extend{By: s.by(arg(1)), ID: id, Request: northbound.ExtendRequest{Until: seconds("for")}}})
		case "boost":
			r, err = s.step(core.Input{Boost: &core.Boost{By: s.by(arg(1)), ID: id, Request: northbound.BoostRequest{
				Committed: rate(option(w, "committed")), Start: seconds("from"), Until: seconds("for")}}})
		case "why": // why NODE DATA [ago=SECONDS]
			n, _ := strconv.Atoi(option(w, "ago"))
			v, err := s.c.Why(s.by(arg(1)), id, s.now.Add(-time.Duration(n)*time.Second), s.now)
			return fmt.Sprintf("%s (%d before, %d after)", v.Answer, len(v.Before), len(v.After)), err
		case "show":
			v, err := s.c.Reservation(s.by(arg(1)), id)
			return shown(&v), err
		}
		return shown(r.Reservation), err
	case "usage": // usage NODE PEER DATA epoch= seq= sent= received= content= end= transfer= [done]
		n := func(name string) uint64 { v, _ := strconv.ParseUint(option(w, name), 10, 64); return v }
		id := s.res[arg(1)+"/"+arg(3)]
		if id == 0 {
			id = s.res[arg(2)+"/"+arg(3)]
		}
		for _, r := range s.c.Reservations(operator) {
			if id == 0 && r.Implicit && r.Data == s.dataset(arg(3)) && r.From == r.Data.Prefix() {
				id = r.ID // the background traffic of the data
			}
		}
		u := southbound.Usage{Epoch: fmt.Sprintf("%016x", n("epoch")), Sequence: n("seq"),
			Counts: []southbound.Count{{Reservation: id, SentBytes: n("sent"), SentPackets: n("sent") / 1000, ReceivedBytes: n("received"), ReceivedPackets: n("received") / 1000}}}
		if end := option(w, "end"); end != "" {
			u.Deliveries = []southbound.Delivery{{Transfer: fmt.Sprintf("%032x", n("transfer")), End: southbound.DeliveryEnd(end), Data: s.dataset(arg(3)),
				Peer: s.node(arg(2)), Reservation: id, ContentBytes: n("content"), Started: epoch, Done: strings.HasSuffix(line, " done")}}
		}
		if as := option(w, "signed"); as != "" { // signed=yes, or by another node's key
			key := identity(arg(1))
			if as != "yes" {
				key = identity(as)
			}
			for i := range u.Deliveries {
				u.Deliveries[i].Sign(s.node(arg(1)), key)
			}
			u.Sign(s.node(arg(1)), identity(arg(1)))
		}
		_, err := s.step(core.Input{Usage: &core.Usage{Node: arg(1), Report: u}})
		return "taken", err
	case "person": // person BY NAME ROLE [INSTITUTION]
		_, err := s.step(core.Input{AddPerson: &core.AddPerson{By: s.by(arg(1)), Token: fmt.Sprintf("p-%d", s.n), Hash: seed("person", arg(2)),
			Request: northbound.PersonRequest{Name: arg(2), Role: northbound.Role(arg(3)), Institution: arg(4)}}})
		return "registered", err
	case "approve": // approve BY DATA
		_, err := s.step(core.Input{Approve: &core.Approve{By: s.by(arg(1)), ID: s.grants[arg(2)]}})
		return "approved", err
	case "freeze": // freeze BY DATA|PARTY REASON
		q := northbound.FreezeRequest{Party: arg(2), Reason: strings.Join(w[3:], " ")}
		if id, ok := s.data[arg(2)]; ok {
			q.Data, q.Party = id.Prefix(), ""
		} else if p, err := netip.ParsePrefix(arg(2)); err == nil {
			q.Data, q.Party = p, ""
		}
		r, err := s.step(core.Input{Freeze: &core.Freeze{By: s.by(arg(1)), ID: fmt.Sprintf("f-%d", s.n), Request: q}})
		if err != nil {
			return "", err
		}
		s.grants["freeze"] = r.Freeze.ID
		return fmt.Sprintf("%s, in flight: %v", r.Freeze.ID, r.Freeze.InFlight), nil
	case "unfreeze": // unfreeze BY: the last one
		_, err := s.step(core.Input{Unfreeze: &core.Unfreeze{By: s.by(arg(1)), ID: s.grants["freeze"]}})
		return "lifted", err
	case "background": // background: what data without a contract has
		var b strings.Builder
		for _, r := range s.c.Reservations(operator) {
			if r.Implicit && r.From == r.Data.Prefix() && r.State != northbound.StateTerminated {
				for name, id := range s.data {
					if id == r.Data {
						fmt.Fprintf(&b, "%s to %s %s; ", name, r.Egress, r.Allocated)
					}
				}
			}
		}
		return b.String(), nil
	case "solve": // solve [stale]: outside, on a snapshot
		version, short := s.c.Short()
		snap, err := s.c.Snapshot()
		if err != nil {
			s.t.Fatal(err)
		}
		found, err := core.Solve(snap, rand.New(rand.NewPCG(uint64(version), 1)).Shuffle)
		if err != nil || found == nil {
			return fmt.Sprintf("version %d, short %v: nothing better", version, short), err
		}
		if arg(1) == "stale" {
			found.Based--
		}
		_, err = s.step(core.Input{Repack: found})
		return fmt.Sprintf("version %d: %v", found.Based, found.Paths), err
	case "receipt": // receipt BY N
		n, _ := strconv.ParseUint(arg(2), 10, 64)
		r, err := s.step(core.Input{Receipt: &core.Receipt{By: s.by(arg(1)), Transfer: fmt.Sprintf("%032x", n)}})
		if err != nil {
			return "", err
		}
		if signed, err := ledger.VerifyReceipt(r.Receipt.Body); err != nil {
			return fmt.Sprintf("leaf %d, not signed by both: %v", r.Receipt.Index, err), nil
		} else {
			return fmt.Sprintf("leaf %d, %d bytes signed by both", r.Receipt.Index, signed.Record.Bytes), nil
		}
	case "metered": // metered BY
		var b strings.Builder
		u := s.c.Usage(s.by(arg(1)))
		for _, r := range u.Reservations {
			if !r.Implicit {
				fmt.Fprintf(&b, "%s sent %d received %d lost %d; ", r.Reservation, r.Ingress.SentBytes, r.Egress.ReceivedBytes, r.LostBytes)
			}
		}
		for _, t := range u.Transfers {
			fmt.Fprintf(&b, "transfer %s %s %d/%d; ", strings.TrimLeft(t.ID, "0"), t.State, t.HolderBytes, t.ReceiverBytes)
		}
		return strings.TrimSuffix(b.String(), "; "), nil
	case "bill": // bill BY INSTITUTION
		b, err := s.c.Bill(s.by(arg(1)), arg(2), epoch, s.now.Add(time.Nanosecond), ledger.Standard(), nil)
		if err != nil {
			return "", err
		}
		var text strings.Builder
		for _, l := range b.Lines {
			fmt.Fprintf(&text, "%s %s %s × %s = %s; ", l.Dimension, l.Quantity, l.Unit, l.Price, l.Amount)
		}
		return text.String() + "total " + b.Total + " " + b.Currency, nil
	case "issue", "decide", "disputes", "lines", "intervals":
		return s.doBilling(w)
	case "wait": // wait SECONDS
		n, _ := strconv.Atoi(arg(1))
		s.now = s.now.Add(time.Duration(n) * time.Second)
		_, err := s.step(core.Input{Tick: &core.Tick{}})
		return s.now.Format(time.TimeOnly), err
	}
	s.t.Fatalf("the script has no command %q", w[0])
	return "", nil
}

func shown(r *northbound.Reservation) string {
	if r == nil {
		return ""
	}
	return fmt.Sprintf("%s %s %s committed %s allocated %s of %s by %s limit %q %s", r.ID, r.State, r.Class, r.Committed, r.Allocated, r.Ceiling, strings.Join(r.Path, ">"), r.Limit, r.Reason) + promisesText(r)
}

// promisesText is what a contract holds beside its rates.
func promisesText(r *northbound.Reservation) (text string) {
	if r.DelayBound > 0 {
		text += fmt.Sprintf(" delay at most %s", r.DelayBound)
	}
	if r.Volume > 0 {
		text += fmt.Sprintf(" %s of %s moved, done by %s", r.Moved, r.Volume, r.Finish.Format(time.TimeOnly))
	}
	for _, b := range r.Boosts {
		text += fmt.Sprintf("; boost +%s %s–%s %s", b.Extra, b.Start.Format(time.TimeOnly), b.Until.Format(time.TimeOnly), b.State)
	}
	for _, z := range r.Resizes {
		text += fmt.Sprintf("; resize %s %s→%s sent %d lost %d exact %v", z.At.Format(time.TimeOnly), z.From, z.To, z.Sent, z.Lost, z.Exact)
		if z.NewPath != nil {
			text += " by another path"
		}
	}
	return text + planText(r.Plan)
}

func planText(plan []northbound.RatePiece) (text string) {
	for _, p := range plan {
		text += fmt.Sprintf("; %s %s–%s", p.Rate, p.From.Format(time.TimeOnly), p.To.Format(time.TimeOnly))
	}
	return text
}

func (s *script) record(inst, name, size, salt, grade string) content.Record {
	s.t.Helper()
	n, _ := strconv.ParseUint(size, 10, 64)
	var p netip.Prefix
	for _, i := range s.c.Institutions() {
		if i.Name == inst {
			p = i.Registrant
		}
	}
	r := content.Record{Name: name, Registrant: p, Grade: dssn.GradeGeneral2, Category: dssn.CategoryMeteorology,
		Root: content.Hash([]byte(name + salt)), Length: dssn.ByteCount(n), Files: 1, Created: epoch}
	if grade != "" {
		r.Grade, _ = dssn.ParseGrade(grade)
	}
	if err := r.Sign(signer(inst)); err != nil {
		s.t.Fatal(err)
	}
	return r
}

// world is the common beginning of scripts: the square, two institutions, a
// terminal each.
const world = `configure
institution north
institution south
token a backbone
token b backbone
token c backbone
token d backbone
token north-1 terminal north
token south-1 terminal south
join a
join b
join c
join d
join north-1
join south-1
see a b d north-1
see b a c
see c b d south-1
see d a c
see north-1 a
see south-1 c
`

func (s *script) run(text string) {
	s.t.Helper()
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if _, err := s.do(line); err != nil {
			s.t.Fatalf("%s: %v", line, err)
		}
	}
}
