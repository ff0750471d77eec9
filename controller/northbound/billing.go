package northbound

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Billing is the part of Service that issues bills and decides disputes.
type Billing interface {
	IssueBill(ctx context.Context, by WhoAmI, q BillRequest) (IssuedBill, error)
	IssuedBills(ctx context.Context, by WhoAmI) ([]IssuedBill, error)
	BillFile(ctx context.Context, by WhoAmI, number string) (BillFile, error)
	Disputes(ctx context.Context, by WhoAmI) ([]Dispute, error)
	// Decide decides the dispute of a reservation or transfer, by its identifier.
	Decide(ctx context.Context, by WhoAmI, id string, q ResolveRequest) error
}

func (a *api) billing(s Billing) {
	route(a, "POST /v1/bills", func(c call, q BillRequest) (IssuedBill, error) { return s.IssueBill(c, c.by, q) })
	list(a, "GET /v1/bills/issued", func(c call) ([]IssuedBill, error) { return s.IssuedBills(c, c.by) }, func(b IssuedBill) string { return b.Institution + "\x00" + sortable(b.From) })
	route(a, "GET /v1/bills/issued/{id}", func(c call, _ none) (BillFile, error) { return s.BillFile(c, c.by, c.id()) })
	list(a, "GET /v1/disputes", func(c call) ([]Dispute, error) { return s.Disputes(c, c.by) }, func(d Dispute) string { return sortable(d.At) + d.Transfer + d.Reservation.String() })
	route(a, "POST /v1/disputes/{id}/resolve", func(c call, q ResolveRequest) (none, error) { return none{}, s.Decide(c, c.by, c.id(), q) })
}

// IssueBill issues the next bill of an institution; a zero time means until now.
func (c *Client) IssueBill(ctx context.Context, institution string, to time.Time) (IssuedBill, error) {
	return post[IssuedBill](ctx, c, "/v1/bills", BillRequest{Institution: institution, To: to})
}

// IssuedBills lists the issued bills that concern the asker.
func (c *Client) IssuedBills(ctx context.Context) ([]IssuedBill, error) {
	return getAll[IssuedBill](ctx, c, "/v1/bills/issued")
}

// BillFile returns an issued bill with all that is needed to check it.
func (c *Client) BillFile(ctx context.Context, number string) (BillFile, error) {
	return get[BillFile](ctx, c, "/v1/bills/issued/"+url.PathEscape(number))
}

// Disputes lists the disputes that concern the asker.
func (c *Client) Disputes(ctx context.Context) ([]Dispute, error) {
	return getAll[Dispute](ctx, c, "/v1/disputes")
}

// Decide decides a dispute.
func (c *Client) Decide(ctx context.Context, id string, q ResolveRequest) error {
	return c.Do(ctx, http.MethodPost, "/v1/disputes/"+url.PathEscape(id)+"/resolve", q, nil)
}
