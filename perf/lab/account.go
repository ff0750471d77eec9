package lab

import (
	"context"
	"os"
	"path/filepath"

	"dssn"
	"dssn/controller/northbound"
)

// account is step 8: usage at both ends, the bill, and a receipt that is
// checked offline, as it is and with one digit changed.
func (r *runner) account(ctx context.Context) error {
	if err := r.usage(ctx); err != nil {
		return err
	}
	if err := r.bill(ctx); err != nil {
		return err
	}
	return r.receipt(ctx)
}

// usage waits for the settlement: nodes report every second or so.
func (r *runner) usage(ctx context.Context) error {
	t, err := r.settledTransfer(ctx, r.report.Transfer.ID)
	if err != nil {
		return err
	}
	r.report.Usage = ReportUsage{Reservation: t.Reservation, Transfer: t.ID, Holder: dssn.ByteCount(t.HolderBytes), Receiver: dssn.ByteCount(t.ReceiverBytes)}
	_, err = r.sh.run(ctx, line{node: r.consumer, args: []string{"dssn", "usage"}})
	return err
}

func (r *runner) bill(ctx context.Context) error {
	var b northbound.Bill
	if _, err := r.sh.run(ctx, line{node: r.consumer, value: &b, args: []string{"dssn", "bill"}}); err != nil {
		return err
	}
	r.report.Bill = ReportBill{Institution: b.Institution, Currency: b.Currency, Total: b.Total}
	for _, l := range b.Lines {
		r.report.Bill.Lines = append(r.report.Bill.Lines, ReportBillLine{l.Dimension, l.Subject, l.Quantity, l.Unit, l.Price, l.Amount})
	}
	return nil
}

func (r *runner) receipt(ctx context.Context) error {
	file := filepath.Join(r.lab.data, "receipt.json")
	if _, err := r.sh.run(ctx, line{node: r.consumer, args: []string{"dssn", "receipt", "get", r.report.Transfer.ID, "-o", file}}); err != nil {
		return err
	}
	var v struct {
		TreeSize int64 `json:"tree_size"`
	}
	if _, err := r.sh.run(ctx, line{node: r.consumer, value: &v, args: []string{"dssn", "receipt", "verify", file}}); err != nil {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	forged, err := forge(text, r.report.Dataset.Bytes)
	if err != nil {
		return err
	}
	copied := filepath.Join(r.lab.data, "forged.json")
	if err := os.WriteFile(copied, forged, 0o600); err != nil {
		return err
	}
	if _, err := r.sh.run(ctx, line{node: r.consumer, fails: true, args: []string{"dssn", "receipt", "verify", copied}}); err != nil {
		return err
	}
	r.report.Receipt = ReportReceipt{FileBytes: len(text), Verified: true, ForgedRefused: true, TreeSize: v.TreeSize}
	return nil
}
