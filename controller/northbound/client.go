package northbound

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"dssn"
	"dssn/controller/southbound"
)

// maxAnswerBytes bounds what a Client reads.
const maxAnswerBytes = 64 << 20

// Client speaks to a Service over HTTP. Its errors are a *Problem where the
// Service refused.
type Client struct {
	// Bearer, if set, is a person's token; it is sent with every request. Set it
	// before the first.
	Bearer string

	http *http.Client
	base string
	name string // for messages
}

// NewUnixClient speaks over the socket of a controller or, which passes /v1 on,
// of a node.
func NewUnixClient(socket string) *Client {
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}
	return &Client{http: &http.Client{Transport: t}, base: "http://dssn", name: socket}
}

// NewClient speaks to a controller's URL over TLS.
func NewClient(address string, config *tls.Config) *Client {
	t := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	return &Client{http: &http.Client{Transport: t}, base: address, name: address}
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Do sends q, if it is not nil, as JSON and reads the answer into a, if it is
// not nil.
func (c *Client) Do(ctx context.Context, method, path string, q, a any) error {
	var body io.Reader
	if q != nil {
		b, err := json.Marshal(q)
		if err != nil {
			return fmt.Errorf("write the request for %s: %w", path, err)
		}
		body = bytes.NewReader(b)
	}
	b, err := c.exchange(ctx, method, path, body)
	if err != nil || a == nil {
		return err
	}
	if err := json.Unmarshal(b, a); err != nil {
		return fmt.Errorf("read the answer of %s to %s: %w", c.name, path, err)
	}
	return nil
}

func (c *Client) exchange(ctx context.Context, method, path string, body io.Reader) ([]byte, error) {
	b, _, err := c.exchangeHeader(ctx, method, path, body, nil)
	return b, err
}

func (c *Client) unreadable(path string, err error) error {
	return fmt.Errorf("read the answer of %s to %s: %w", c.name, path, err)
}

// exchangeHeader sends a request with some headers more, and returns the
// answer's too.
func (c *Client) exchangeHeader(ctx context.Context, method, path string, body io.Reader, more http.Header) ([]byte, http.Header, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, nil, fmt.Errorf("write the request for %s: %w", path, err)
	}
	for name, values := range more {
		r.Header[name] = values
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.Bearer != "" {
		r.Header.Set("Authorization", "Bearer "+c.Bearer)
	}
	w, err := c.http.Do(r)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, nil, fmt.Errorf("nothing answers at %s: start `dssn controller run` or `dssn node run`, or check --state", c.name)
	case err != nil:
		return nil, nil, fmt.Errorf("ask %s: %w", c.name, err)
	}
	defer w.Body.Close()
	b, err := io.ReadAll(io.LimitReader(w.Body, maxAnswerBytes))
	if err != nil {
		return nil, nil, fmt.Errorf("read the answer of %s to %s: %w", c.name, path, err)
	}
	if w.StatusCode >= 400 {
		p := &Problem{}
		if json.Unmarshal(b, p) != nil || p.Detail == "" {
			return nil, nil, NewProblem("internal", w.StatusCode, "%s answered %s to %s: look at its log", c.name, w.Status, path)
		}
		p.Status = w.StatusCode
		return nil, nil, p
	}
	return b, w.Header, nil
}

func get[A any](ctx context.Context, c *Client, path string) (a A, err error) {
	err = c.Do(ctx, http.MethodGet, path, nil, &a)
	return a, err
}

func post[A any](ctx context.Context, c *Client, path string, q any) (a A, err error) {
	err = c.Do(ctx, http.MethodPost, path, q, &a)
	return a, err
}

// WhoAmI asks as whom this client is known.
func (c *Client) WhoAmI(ctx context.Context) (WhoAmI, error) {
	return get[WhoAmI](ctx, c, "/v1/whoami")
}

// Join enrols a node.
func (c *Client) Join(ctx context.Context, q southbound.JoinRequest) (southbound.JoinResponse, error) {
	return post[southbound.JoinResponse](ctx, c, southbound.JoinPath, q)
}

// Renew asks for a new certificate.
func (c *Client) Renew(ctx context.Context, q southbound.RenewRequest) (southbound.RenewResponse, error) {
	return post[southbound.RenewResponse](ctx, c, southbound.RenewPath, q)
}

// AddInstitution registers an institution.
func (c *Client) AddInstitution(ctx context.Context, q InstitutionRequest) (Institution, error) {
	return post[Institution](ctx, c, "/v1/institutions", q)
}

// Institutions lists the institutions.
func (c *Client) Institutions(ctx context.Context) ([]Institution, error) {
	return getAll[Institution](ctx, c, "/v1/institutions")
}

// CreateToken makes a token for one node.
func (c *Client) CreateToken(ctx context.Context, q TokenRequest) (Token, error) {
	return post[Token](ctx, c, "/v1/tokens", q)
}

// RemoveNode ends a node's membership.
func (c *Client) RemoveNode(ctx context.Context, node string) error {
	return c.Do(ctx, http.MethodDelete, "/v1/nodes/"+url.PathEscape(node), nil, nil)
}

// Publish registers a record.
func (c *Client) Publish(ctx context.Context, q PublishRequest) (Dataset, error) {
	return post[Dataset](ctx, c, "/v1/datasets", q)
}

// Datasets lists the catalogue.
func (c *Client) Datasets(ctx context.Context) ([]Dataset, error) {
	return getAll[Dataset](ctx, c, "/v1/datasets")
}

// Dataset returns one catalogue entry.
func (c *Client) Dataset(ctx context.Context, id dssn.DataID) (Dataset, error) {
	return get[Dataset](ctx, c, "/v1/datasets/"+id.String())
}

// Resolve asks who holds id, and whether the asker may have it.
func (c *Client) Resolve(ctx context.Context, id dssn.DataID) (Resolution, error) {
	return get[Resolution](ctx, c, "/v1/resolve/"+id.String())
}

// Grant permits.
func (c *Client) Grant(ctx context.Context, q GrantRequest) (Grant, error) {
	return post[Grant](ctx, c, "/v1/grants", q)
}

// Grants lists the grants that concern the asker.
func (c *Client) Grants(ctx context.Context) ([]Grant, error) {
	return getAll[Grant](ctx, c, "/v1/grants")
}

// Revoke ends a grant.
func (c *Client) Revoke(ctx context.Context, id string) (g Grant, err error) {
	err = c.Do(ctx, http.MethodDelete, "/v1/grants/"+url.PathEscape(id), nil, &g)
	return g, err
}

// Approve is the second pair of eyes on a grant.
func (c *Client) Approve(ctx context.Context, id string) (Grant, error) {
	return post[Grant](ctx, c, "/v1/grants/"+url.PathEscape(id)+"/approve", nil)
}

// Freeze stops all reach of some data or of a party.
func (c *Client) Freeze(ctx context.Context, q FreezeRequest) (Freeze, error) {
	return post[Freeze](ctx, c, "/v1/freezes", q)
}

// Freezes lists the freezes, lifted ones included.
func (c *Client) Freezes(ctx context.Context) ([]Freeze, error) {
	return getAll[Freeze](ctx, c, "/v1/freezes")
}

// Unfreeze lifts a freeze.
func (c *Client) Unfreeze(ctx context.Context, id string) (f Freeze, err error) {
	err = c.Do(ctx, http.MethodDelete, "/v1/freezes/"+url.PathEscape(id), nil, &f)
	return f, err
}

// AddAPIToken gives a person a further token.
func (c *Client) AddAPIToken(ctx context.Context, person string, q APITokenRequest) (APIToken, error) {
	return post[APIToken](ctx, c, "/v1/people/"+person+"/tokens", q)
}

// SetRoles sets the roles of an institution or a node.
func (c *Client) SetRoles(ctx context.Context, q RoleRequest) (Roles, error) {
	return post[Roles](ctx, c, "/v1/roles", q)
}

// AddPerson registers a person and returns their token.
func (c *Client) AddPerson(ctx context.Context, q PersonRequest) (Person, error) {
	return post[Person](ctx, c, "/v1/people", q)
}

// People lists the people of the asker's institution.
func (c *Client) People(ctx context.Context) ([]Person, error) {
	return getAll[Person](ctx, c, "/v1/people")
}

// RemovePerson ends an account at once.
func (c *Client) RemovePerson(ctx context.Context, name string) error {
	return c.Do(ctx, http.MethodDelete, "/v1/people/"+url.PathEscape(name), nil, nil)
}

// Quote asks what a reservation would get.
func (c *Client) Quote(ctx context.Context, q ReservationRequest) (Quote, error) {
	return post[Quote](ctx, c, "/v1/quotes", q)
}

// Hold holds bandwidth until its commit.
func (c *Client) Hold(ctx context.Context, q ReservationRequest) (Reservation, error) {
	return post[Reservation](ctx, c, "/v1/reservations", q)
}

// Reserve holds and commits.
func (c *Client) Reserve(ctx context.Context, q ReservationRequest) (Reservation, error) {
	r, err := c.Hold(ctx, q)
	if err != nil {
		return r, err
	}
	return c.Commit(ctx, r.ID)
}

// Commit makes a hold a contract.
func (c *Client) Commit(ctx context.Context, id dssn.ReservationID) (Reservation, error) {
	return post[Reservation](ctx, c, "/v1/reservations/"+id.String()+"/commit", nil)
}

// Modify changes a reservation.
func (c *Client) Modify(ctx context.Context, id dssn.ReservationID, q ModifyRequest) (Reservation, error) {
	return post[Reservation](ctx, c, "/v1/reservations/"+id.String()+"/modify", q)
}

// Extend moves the end of a reservation.
func (c *Client) Extend(ctx context.Context, id dssn.ReservationID, q ExtendRequest) (Reservation, error) {
	return post[Reservation](ctx, c, "/v1/reservations/"+id.String()+"/extend", q)
}

// Boost raises a contract's committed rate for a window of its own.
func (c *Client) Boost(ctx context.Context, id dssn.ReservationID, q BoostRequest) (Reservation, error) {
	return post[Reservation](ctx, c, "/v1/reservations/"+id.String()+"/boost", q)
}

// Why says why a reservation had its rate and path at a moment, zero for now.
func (c *Client) Why(ctx context.Context, id dssn.ReservationID, at time.Time) (Why, error) {
	query := ""
	if !at.IsZero() {
		query = "?at=" + url.QueryEscape(at.Format(time.RFC3339Nano))
	}
	return get[Why](ctx, c, "/v1/reservations/"+id.String()+"/why"+query)
}

// Release ends a reservation.
func (c *Client) Release(ctx context.Context, id dssn.ReservationID) (Reservation, error) {
	return post[Reservation](ctx, c, "/v1/reservations/"+id.String()+"/release", nil)
}

// Reservations lists the reservations that concern the asker.
func (c *Client) Reservations(ctx context.Context) ([]Reservation, error) {
	return getAll[Reservation](ctx, c, "/v1/reservations")
}

// Reservation returns one reservation.
func (c *Client) Reservation(ctx context.Context, id dssn.ReservationID) (Reservation, error) {
	return get[Reservation](ctx, c, "/v1/reservations/"+id.String())
}

// Usage returns what was metered at both ends.
func (c *Client) Usage(ctx context.Context) (Usage, error) { return get[Usage](ctx, c, "/v1/usage") }

// Bill rates a period. An empty institution is the asker's; zero times mean
// everything until now.
func (c *Client) Bill(ctx context.Context, institution string, from, to time.Time) (Bill, error) {
	return get[Bill](ctx, c, "/v1/bills?"+period(institution, from, to))
}

func period(institution string, from, to time.Time) string {
	q := url.Values{}
	if institution != "" {
		q.Set("institution", institution)
	}
	if !from.IsZero() {
		q.Set("from", from.Format(time.RFC3339Nano))
	}
	if !to.IsZero() {
		q.Set("to", to.Format(time.RFC3339Nano))
	}
	return q.Encode()
}

// Receipt returns the receipt file of a settled transfer, as it is to be kept.
func (c *Client) Receipt(ctx context.Context, transfer string) (json.RawMessage, error) {
	return post[json.RawMessage](ctx, c, "/v1/receipts", ReceiptRequest{Transfer: transfer})
}

// Export returns a period's bill or use in a format: focus (CSV), tmf635 or
// cloudevents (JSON).
func (c *Client) Export(ctx context.Context, format, institution string, from, to time.Time) ([]byte, error) {
	return c.exchange(ctx, http.MethodGet, "/v1/exports/"+url.PathEscape(format)+"?"+period(institution, from, to), nil)
}

// Tariff returns the tariff in force, as bills cite it.
func (c *Client) Tariff(ctx context.Context) (json.RawMessage, error) {
	return get[json.RawMessage](ctx, c, "/v1/tariff")
}

// Status returns the network at a glance.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/v1/status")
}

// Events lists what happened after a sequence number, oldest first.
func (c *Client) Events(ctx context.Context, after int64) ([]Event, error) {
	return get[[]Event](ctx, c, "/v1/events?after="+strconv.FormatInt(after, 10))
}

// Metrics returns the controller's metrics in the Prometheus text format; only
// its local socket has them.
func (c *Client) Metrics(ctx context.Context) ([]byte, error) {
	return c.exchange(ctx, http.MethodGet, "/metrics", nil)
}

// Checkpoint returns the evidence log's signed checkpoint.
func (c *Client) Checkpoint(ctx context.Context) ([]byte, error) {
	return c.exchange(ctx, http.MethodGet, "/evidence/checkpoint", nil)
}

// Tile returns a tile of the evidence log by its C2SP path ("tile/0/000.p/5").
func (c *Client) Tile(ctx context.Context, path string) ([]byte, error) {
	return c.exchange(ctx, http.MethodGet, "/evidence/"+path, nil)
}
