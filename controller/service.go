package controller

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"dssn"
	"dssn/controller/core"
	"dssn/controller/ledger"
	"dssn/controller/northbound"
	"dssn/controller/southbound"
)

// service answers the northbound handler: checks what needs no decision, adds
// the random numbers, submits inputs, asks questions.
type service struct{ *Controller }

var statuses = map[core.RefusalKind]int{
	core.Invalid: http.StatusBadRequest, core.Denied: http.StatusForbidden, core.Unknown: http.StatusNotFound,
	core.Conflict: http.StatusConflict, core.Precondition: http.StatusPreconditionFailed, core.Reused: http.StatusUnprocessableEntity, core.Capacity: http.StatusConflict, core.Expired: http.StatusGone,
}

// problem turns a refusal into its problem document.
func problem(err error) error {
	var r *core.Refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &r):
		p := northbound.NewProblem(string(r.Kind), statuses[r.Kind], "%s", r.Detail)
		p.Bottleneck, p.BestOffer = r.Bottleneck, r.Offer
		p.BestStart, p.BestDelay, p.BestFinish = r.Start, r.Delay, r.Finish
		return p
	case errors.Is(err, errStopped):
		return northbound.NewProblem("unavailable", http.StatusServiceUnavailable, "%v", err)
	}
	return err
}

// ask runs a question on the core.
func ask[A any](s service, q func(*core.Core) (A, error)) (a A, err error) {
	s.engine.query(func(c *core.Core) { a, err = q(c) })
	return a, problem(err)
}

// tokenPrefix begins every token: dssn1.<id>.<secret>.<pin>.
const tokenPrefix = "dssn1"

// personPrefix begins every person's token.
const personPrefix = "dssnp1"

func randomText(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// drawSecret returns a new identifier and a new secret. For a request with an
// Idempotency-Key they follow from it, so that the same request gets the same
// token though nobody keeps its text.
func (s service) drawSecret(ctx context.Context) (id, secret string) {
	c := northbound.ConditionOf(ctx)
	if c == nil || c.Key == "" {
		return randomHex(6), randomText(24)
	}
	var b []byte
	s.engine.query(func(k *core.Core) {
		b = k.Derive(strings.Join([]string{"secret", c.Client, c.Key, hex.EncodeToString(c.Digest)}, "\x00"))
	})
	return hex.EncodeToString(b[:6]), base64.RawURLEncoding.EncodeToString(b[6:30])
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}

func (s service) Join(ctx context.Context, q southbound.JoinRequest) (out southbound.JoinResponse, err error) {
	parts := strings.Split(q.Token, ".")
	if len(parts) != 4 || parts[0] != tokenPrefix {
		return out, northbound.NewProblem("invalid", http.StatusBadRequest, "the token is not one: copy it whole, as `dssn token create` printed it")
	}
	key, err := readCSR(q.CSR)
	if err != nil {
		return out, northbound.NewProblem("invalid", http.StatusBadRequest, "%v", err)
	}
	hash := sha256.Sum256([]byte(parts[2]))
	in := &core.Join{Token: parts[1], Hash: hash[:], Key: key, TunnelKey: q.TunnelKey, RegistrantKey: q.RegistrantKey, Features: q.Features}
	if _, err := ask(s, func(c *core.Core) (bool, error) { return true, c.CheckJoin(s.clock(), in) }); err != nil {
		return out, err
	}
	reply, err := s.engine.submit(ctx, core.Input{Join: in})
	if err != nil {
		return out, problem(err)
	}
	n := reply.Node
	out = southbound.JoinResponse{CA: s.ca.cert.Raw, Node: n.Node, Name: n.Name, Role: n.Role, SID: n.SID, Institution: n.Institution,
		LogKey: s.engine.log.VerifierKey(), Controllers: s.urls}
	if out.Certificate, err = s.ca.node(n.Node, n.Name, key); err != nil {
		return out, err
	}
	s.engine.query(func(c *core.Core) {
		out.Assignment = c.Assignment(n.Name)
		st := c.Status(northbound.WhoAmI{Operator: true})
		out.Block = st.Block
		for _, i := range st.Institutions {
			if i.Name == n.Institution {
				out.Registrant = i.Registrant
			}
		}
	})
	return out, nil
}

func (s service) Renew(_ context.Context, by northbound.WhoAmI, q southbound.RenewRequest) (out southbound.RenewResponse, err error) {
	key, err := readCSR(q.CSR)
	if err != nil {
		return out, northbound.NewProblem("invalid", http.StatusBadRequest, "%v", err)
	}
	id, err := ask(s, func(c *core.Core) (dssn.NodeID, error) {
		for _, n := range c.Status(northbound.WhoAmI{Operator: true}).Nodes {
			if n.Name == by.Node && by.Node != "" {
				_, err := c.Authenticate(n.Node, key)
				return n.Node, err
			}
		}
		return dssn.NodeID{}, northbound.NewProblem("denied", http.StatusForbidden, "only a node can renew its certificate: send the request as that node")
	})
	if err != nil {
		return out, err
	}
	out.CA = s.ca.cert.Raw
	out.Certificate, err = s.ca.node(id, by.Node, key)
	return out, err
}

func (s service) AddInstitution(ctx context.Context, by northbound.WhoAmI, q northbound.InstitutionRequest) (northbound.Institution, error) {
	r, err := s.engine.submit(ctx, core.Input{AddInstitution: &core.AddInstitution{By: by, Request: q}})
	return value(r.Institution), problem(err)
}

// value returns what p points to, or zero for nil.
func value[T any](p *T) (zero T) {
	if p == nil {
		return zero
	}
	return *p
}

func (s service) Institutions(_ context.Context, by northbound.WhoAmI) ([]northbound.Institution, error) {
	return ask(s, func(c *core.Core) ([]northbound.Institution, error) { return c.Status(by).Institutions, nil })
}

func (s service) CreateToken(ctx context.Context, by northbound.WhoAmI, q northbound.TokenRequest) (northbound.Token, error) {
	id, secret := s.drawSecret(ctx)
	hash := sha256.Sum256([]byte(secret))
	r, err := s.engine.submit(ctx, core.Input{CreateToken: &core.CreateToken{By: by, Request: q, ID: id, Hash: hash[:]}})
	if err != nil {
		return northbound.Token{}, problem(err)
	}
	t := *r.Token
	t.Token = strings.Join([]string{tokenPrefix, id, secret, s.ca.pin()}, ".")
	return t, nil
}

func (s service) RemoveNode(ctx context.Context, by northbound.WhoAmI, node string) error {
	_, err := s.engine.submit(ctx, core.Input{RemoveNode: &core.RemoveNode{By: by, Node: node}})
	return problem(err)
}

func (s service) Publish(ctx context.Context, by northbound.WhoAmI, q northbound.PublishRequest) (northbound.Dataset, error) {
	if err := core.CheckRecord(q.Record); err != nil {
		return northbound.Dataset{}, problem(err)
	}
	holder := q.Holder
	if holder == "" {
		holder = by.Node
	}
	r, err := s.engine.submit(ctx, core.Input{Publish: &core.Publish{By: by, Holder: holder, Record: *q.Record}})
	return value(r.Dataset), problem(err)
}

func (s service) Datasets(context.Context, northbound.WhoAmI) ([]northbound.Dataset, error) {
	return ask(s, func(c *core.Core) ([]northbound.Dataset, error) { return c.Datasets(), nil })
}

func (s service) Dataset(_ context.Context, _ northbound.WhoAmI, id dssn.DataID) (northbound.Dataset, error) {
	return ask(s, func(c *core.Core) (northbound.Dataset, error) { return c.Dataset(id) })
}

func (s service) Resolve(_ context.Context, by northbound.WhoAmI, id dssn.DataID) (northbound.Resolution, error) {
	r, err := ask(s, func(c *core.Core) (northbound.Resolution, error) { return c.Resolve(by, id) })
	var p *northbound.Problem
	if errors.As(err, &p) && p.Status == http.StatusNotFound {
		if where := s.elsewhere(id); where != "" {
			err = northbound.NewProblem(string(core.Unknown), http.StatusNotFound, "%s", where)
		}
	}
	return r, err
}

func (s service) Grant(ctx context.Context, by northbound.WhoAmI, q northbound.GrantRequest) (northbound.Grant, error) {
	r, err := s.engine.submit(ctx, core.Input{Grant: &core.Grant{By: by, ID: "g-" + randomHex(6), Request: q}})
	return value(r.Grant), problem(err)
}

func (s service) Grants(_ context.Context, by northbound.WhoAmI) ([]northbound.Grant, error) {
	return ask(s, func(c *core.Core) ([]northbound.Grant, error) { return c.Grants(by), nil })
}

func (s service) Revoke(ctx context.Context, by northbound.WhoAmI, id string) (northbound.Grant, error) {
	r, err := s.engine.submit(ctx, core.Input{Revoke: &core.Revoke{By: by, ID: id}})
	return value(r.Grant), problem(err)
}

func (s service) Approve(ctx context.Context, by northbound.WhoAmI, id string) (northbound.Grant, error) {
	r, err := s.engine.submit(ctx, core.Input{Approve: &core.Approve{By: by, ID: id}})
	return value(r.Grant), problem(err)
}

func (s service) Freeze(ctx context.Context, by northbound.WhoAmI, q northbound.FreezeRequest) (northbound.Freeze, error) {
	r, err := s.engine.submit(ctx, core.Input{Freeze: &core.Freeze{By: by, ID: "f-" + randomHex(6), Request: q}})
	return value(r.Freeze), problem(err)
}

func (s service) Freezes(_ context.Context, by northbound.WhoAmI) ([]northbound.Freeze, error) {
	return ask(s, func(c *core.Core) ([]northbound.Freeze, error) { return c.Freezes(by), nil })
}

func (s service) Unfreeze(ctx context.Context, by northbound.WhoAmI, id string) (northbound.Freeze, error) {
	r, err := s.engine.submit(ctx, core.Input{Unfreeze: &core.Unfreeze{By: by, ID: id}})
	return value(r.Freeze), problem(err)
}

func (s service) AddPerson(ctx context.Context, by northbound.WhoAmI, q northbound.PersonRequest) (northbound.Person, error) {
	id, secret := s.drawSecret(ctx)
	hash := sha256.Sum256([]byte(secret))
	r, err := s.engine.submit(ctx, core.Input{AddPerson: &core.AddPerson{By: by, Request: q, Token: id, Hash: hash[:]}})
	if err != nil {
		return northbound.Person{}, problem(err)
	}
	p := *r.Person
	p.Token = strings.Join([]string{personPrefix, id, secret}, ".")
	return p, nil
}

func (s service) AddAPIToken(ctx context.Context, by northbound.WhoAmI, person string, q northbound.APITokenRequest) (northbound.APIToken, error) {
	id, secret := randomHex(6), randomText(24)
	hash := sha256.Sum256([]byte(secret))
	r, err := s.engine.submit(ctx, core.Input{AddAPIToken: &core.AddAPIToken{By: by, Person: person, Request: q, ID: id, Hash: hash[:]}})
	if err != nil {
		return northbound.APIToken{}, problem(err)
	}
	t := *r.APIToken
	t.Token = strings.Join([]string{personPrefix, id, secret}, ".")
	return t, nil
}

func (s service) RemoveAPIToken(ctx context.Context, by northbound.WhoAmI, person, name string) error {
	_, err := s.engine.submit(ctx, core.Input{RemoveAPIToken: &core.RemoveAPIToken{By: by, Person: person, Name: name}})
	return problem(err)
}

func (s service) SetPolicy(ctx context.Context, by northbound.WhoAmI, q northbound.PolicyRequest) (northbound.Policy, error) {
	r, err := s.engine.submit(ctx, core.Input{SetPolicy: &core.SetPolicy{By: by, Request: q}})
	return value(r.Policy), problem(err)
}

func (s service) Policy(context.Context, northbound.WhoAmI) (northbound.Policy, error) {
	return ask(s, func(c *core.Core) (northbound.Policy, error) { return c.Policy(), nil })
}

func (s service) Reach(_ context.Context, by northbound.WhoAmI, q northbound.ReachRequest) (northbound.Reach, error) {
	return ask(s, func(c *core.Core) (northbound.Reach, error) { return c.Reach(by, q) })
}

func (s service) SetRoles(ctx context.Context, by northbound.WhoAmI, q northbound.RoleRequest) (northbound.Roles, error) {
	r, err := s.engine.submit(ctx, core.Input{SetRoles: &core.SetRoles{By: by, Request: q}})
	return value(r.Roles), problem(err)
}

func (s service) People(_ context.Context, by northbound.WhoAmI) ([]northbound.Person, error) {
	return ask(s, func(c *core.Core) ([]northbound.Person, error) { return c.People(by), nil })
}

func (s service) RemovePerson(ctx context.Context, by northbound.WhoAmI, name string) error {
	_, err := s.engine.submit(ctx, core.Input{RemovePerson: &core.RemovePerson{By: by, Name: name}})
	return problem(err)
}

// person finds who sent a bearer token: dssnp1.<id>.<secret>.
func (c *Controller) person(bearer string) (by northbound.WhoAmI, err error) {
	parts := strings.Split(bearer, ".")
	if len(parts) != 3 || parts[0] != personPrefix {
		return by, northbound.NewProblem("unauthenticated", http.StatusUnauthorized, "the bearer token is not one: copy it whole")
	}
	hash := sha256.Sum256([]byte(parts[2]))
	c.engine.query(func(k *core.Core) { by, err = k.AuthenticatePerson(c.clock(), parts[1], hash[:]) })
	return by, problem(err)
}

func (s service) Quote(_ context.Context, by northbound.WhoAmI, q northbound.ReservationRequest) (northbound.Quote, error) {
	return ask(s, func(c *core.Core) (northbound.Quote, error) { return c.Quote(s.clock(), by, q) })
}

func (s service) Reserve(ctx context.Context, by northbound.WhoAmI, q northbound.ReservationRequest) (northbound.Reservation, error) {
	id, err := dssn.NewReservationID(rand.Reader)
	if err != nil {
		return northbound.Reservation{}, err
	}
	r, err := s.engine.submit(ctx, core.Input{Reserve: &core.Reserve{By: by, ID: id, Request: q, Bounds: true}})
	return value(r.Reservation), problem(err)
}

func (s service) Commit(ctx context.Context, by northbound.WhoAmI, id dssn.ReservationID) (northbound.Reservation, error) {
	r, err := s.engine.submit(ctx, core.Input{Commit: &core.Commit{By: by, ID: id}})
	return value(r.Reservation), problem(err)
}

func (s service) Modify(ctx context.Context, by northbound.WhoAmI, id dssn.ReservationID, q northbound.ModifyRequest) (northbound.Reservation, error) {
	r, err := s.engine.submit(ctx, core.Input{Modify: &core.Modify{By: by, ID: id, Request: q}})
	return value(r.Reservation), problem(err)
}

func (s service) Release(ctx context.Context, by northbound.WhoAmI, id dssn.ReservationID) (northbound.Reservation, error) {
	r, err := s.engine.submit(ctx, core.Input{Release: &core.Release{By: by, ID: id}})
	return value(r.Reservation), problem(err)
}

func (s service) Reservations(_ context.Context, by northbound.WhoAmI) ([]northbound.Reservation, error) {
	return ask(s, func(c *core.Core) ([]northbound.Reservation, error) { return c.Reservations(by), nil })
}

func (s service) Reservation(_ context.Context, by northbound.WhoAmI, id dssn.ReservationID) (northbound.Reservation, error) {
	return ask(s, func(c *core.Core) (northbound.Reservation, error) { return c.Reservation(by, id) })
}

func (s service) Usage(_ context.Context, by northbound.WhoAmI) (northbound.Usage, error) {
	return ask(s, func(c *core.Core) (northbound.Usage, error) { return c.Usage(by), nil })
}

func (s service) Bill(_ context.Context, by northbound.WhoAmI, institution string, from, to time.Time) (northbound.Bill, error) {
	now := s.clock()
	if to.IsZero() || to.After(now) {
		to = now
	}
	zone, err := ledger.Offsets(s.tariff.Zone, from, to)
	if err != nil {
		return northbound.Bill{}, err
	}
	return ask(s, func(c *core.Core) (northbound.Bill, error) { return c.Bill(by, institution, from, to, s.tariff, zone) })
}

func (s service) Tariff(context.Context) (json.RawMessage, error) { return json.Marshal(s.tariff) }

func (s service) Export(ctx context.Context, by northbound.WhoAmI, format, institution string, from, to time.Time) (string, []byte, error) {
	if to.IsZero() {
		to = s.clock()
	}
	switch format {
	case "focus":
		b, err := s.Bill(ctx, by, institution, from, to)
		if err != nil {
			return "", nil, err
		}
		var text bytes.Buffer
		err = ledger.WriteFOCUS(&text, b, "DSSN")
		return "text/csv; charset=utf-8", text.Bytes(), err
	case "tmf635", "cloudevents":
		u, err := s.Usage(ctx, by)
		if err != nil {
			return "", nil, err
		}
		ts := slices.DeleteFunc(u.Transfers, func(t northbound.Transfer) bool {
			return t.Record == nil || t.Record.Ended.Before(from) || !t.Record.Ended.Before(to) || institution != "" && t.Payer != institution
		})
		if format == "tmf635" {
			b, err := json.Marshal(ledger.TMF635(ts))
			return "application/json", b, err
		}
		b, err := json.Marshal(ledger.CloudEvents(ts, "/dssn/controller/"+s.engine.log.VerifierKey()))
		return "application/cloudevents-batch+json", b, err
	}
	return "", nil, northbound.NewProblem("unknown", http.StatusNotFound, "%q is not a format of exports: use focus, tmf635 or cloudevents", format)
}

func (s service) Receipt(ctx context.Context, by northbound.WhoAmI, transfer string) (json.RawMessage, error) {
	r, err := s.engine.submit(ctx, core.Input{Receipt: &core.Receipt{By: by, Transfer: transfer}})
	if err != nil {
		return nil, problem(err)
	}
	s.witness.cover(ctx, r.Receipt.Index)
	f, err := s.engine.log.Receipt(r.Receipt.Index, r.Receipt.Body)
	if err != nil {
		return nil, err
	}
	return json.Marshal(f)
}

func (s service) Status(_ context.Context, by northbound.WhoAmI) (northbound.Status, error) {
	return ask(s, func(c *core.Core) (northbound.Status, error) {
		st := c.Status(by)
		st.Now, st.Version, st.LogKey = s.clock(), s.version, s.engine.log.VerifierKey()
		st.Journal, _ = s.engine.journal.Head()
		if by.Operator {
			st.StateHash = c.Hash()
			if s.domain != nil {
				v := s.domain.State()
				st.BGP = &v
			}
		}
		for i := range st.Nodes {
			s.enliven(c, &st.Nodes[i])
		}
		s.addTransit(by, st.Nodes)
		return st, nil
	})
}

// addTransit adds what nodes saw of reservations on their way, for the operator.
func (s service) addTransit(by northbound.WhoAmI, nodes []northbound.Node) {
	for i := range nodes {
		if by.Operator {
			nodes[i].Transit = s.sessions.get(nodes[i].Node).transit
		}
	}
}

// enliven adds what is known of a node now.
func (s service) enliven(c *core.Core, n *northbound.Node) {
	l := s.sessions.get(n.Node)
	n.Connected, n.Since, n.Seen = l.connected, l.since, l.seen
	n.Applied, n.Problem, n.Obtained = l.applied.Generation, l.applied.Problem, l.applied.Obtained
	for _, p := range l.paths {
		peer, hops := c.HopsOf(n.Name, p.Peer, p.Carrier)
		n.Paths = append(n.Paths, northbound.PathState{Peer: peer, Hops: hops, Carrier: p.Carrier, Alive: p.Alive, InUse: p.InUse, RTT: p.RTT, Since: p.Since, Suite: c.SuiteOf(n.Name, p.Peer).String()})
	}
}

func (s service) Events(_ context.Context, by northbound.WhoAmI, after int64, limit int) ([]northbound.Event, error) {
	return ask(s, func(c *core.Core) ([]northbound.Event, error) { return c.Events(by, after, limit), nil })
}

// Checkpoint returns the published checkpoint where witnesses are asked, else the newest.
func (s service) Checkpoint(context.Context) ([]byte, error) {
	if s.witness != nil {
		msg, _, err := s.engine.log.Published()
		return msg, err
	}
	return s.engine.log.Checkpoint()
}

func (s service) Tile(_ context.Context, path string) ([]byte, bool, error) {
	return s.engine.log.Tile(path)
}

// standardTariff is in force unless Options name another file.
func standardTariff(text []byte) (ledger.Tariff, error) {
	if text == nil {
		return ledger.Standard(), nil
	}
	t, err := ledger.Read(text)
	if err != nil {
		return t, fmt.Errorf("use the tariff: %w", err)
	}
	return t, nil
}
