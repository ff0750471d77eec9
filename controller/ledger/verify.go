package ledger

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/cockroachdb/apd/v3"

	"dssn/controller/northbound"
)

// VerifyBill rates a bill's lines again by its own tariff and reports the first
// thing that does not come out the same: the tariff, a price, a product, or the
// total. Whether the quantities are right is for VerifyFile to say, which has the
// records; whether the records exist, for the evidence log.
func VerifyBill(b northbound.Bill, t Tariff) error {
	if t.Version != b.Tariff || t.Hash() != b.TariffHash {
		return fmt.Errorf("the bill is by tariff %s (%.12s…), not by this %s (%.12s…): get the tariff that it cites", b.Tariff, b.TariffHash, t.Version, t.Hash())
	}
	if t.Currency != b.Currency {
		return fmt.Errorf("the bill is in %s but its tariff in %s: ask for the bill again", b.Currency, t.Currency)
	}
	facts := make([]Fact, len(b.Lines))
	for i, l := range b.Lines {
		q, _, err := apd.NewFromString(l.Quantity)
		if err != nil || q.Form != apd.Finite || q.Negative || q.NumDigits() > 100 || q.Exponent < -40 || q.Exponent > 40 {
			return fmt.Errorf("line %d of the bill has the quantity %.60q, which is no amount: ask for the bill again", i+1, l.Quantity)
		}
		if units[Dimension(l.Dimension)] == "" {
			return fmt.Errorf("line %d of the bill is for %.60q, which no tariff knows: ask for the bill again", i+1, l.Dimension)
		}
		facts[i] = Fact{Dimension: Dimension(l.Dimension), Subject: l.Subject, Quantity: *q, Record: l.Record, Status: l.Status, Terms: l.Terms}
	}
	lines, total, err := Rate(t, facts)
	if err != nil {
		return err
	}
	for i, l := range lines {
		if l != b.Lines[i] {
			return fmt.Errorf("line %d of the bill says %s × %s = %s, but it comes to %s × %s = %s: dispute it", i+1, b.Lines[i].Quantity, b.Lines[i].Price, b.Lines[i].Amount, l.Quantity, l.Price, l.Amount)
		}
	}
	if total != b.Total {
		return fmt.Errorf("the bill's total is %s, but its lines come to %s: dispute it", b.Total, total)
	}
	return nil
}

// VerifyFile rates a bill file again from its records: nothing of the bill is
// believed. It returns the bill's hash, which the bill's leaf in the evidence log
// has to name; for that, and for the records' own leaves, see package evidence.
func VerifyFile(f *northbound.BillFile) (hash string, err error) {
	if f.Format != northbound.BillFileFormat {
		return "", fmt.Errorf("the file's format is %.40q, not %q: fetch it with `dssn bill get`", f.Format, northbound.BillFileFormat)
	}
	t, err := Read(f.Tariff)
	if err != nil {
		return "", err
	}
	b := f.Bill
	if err := VerifyBill(b, t); err != nil {
		return "", err
	}
	for i := range f.Records.Transfers {
		r := &f.Records.Transfers[i]
		if h := RecordHash(r); h != r.Hash {
			return "", fmt.Errorf("the record of transfer %.40s does not have the hash %.12s… that it says: the file was changed", r.Transfer, r.Hash)
		}
		if r.Payer != b.Institution {
			return "", fmt.Errorf("the transfer %.40s is paid by %.40s, not by %.40s: dispute it", r.Transfer, r.Payer, b.Institution)
		}
	}
	for i := range f.Records.Contracts {
		if r := &f.Records.Contracts[i]; r.Institution != b.Institution {
			return "", fmt.Errorf("the contract %s is of %.40s, not of %.40s: dispute it", r.Reservation, r.Institution, b.Institution)
		}
	}
	if p := f.Records.Period; !p.From.Equal(b.From) || !p.To.Equal(b.To) || p.Institution != b.Institution {
		return "", fmt.Errorf("the bill is of %.40s from %s to %s, its records of another institution or period: ask for the bill again", b.Institution, b.From.Format(time.RFC3339), b.To.Format(time.RFC3339))
	}
	if err := bounded(f); err != nil {
		return "", err
	}
	if err := once(f.Records); err != nil {
		return "", err
	}
	again, err := Bill(t, b.Zone, b.From, b.To, f.Records)
	if err != nil {
		return "", err
	}
	again.Number, again.Disputed = b.Number, b.Disputed
	if len(again.Lines) != len(b.Lines) {
		return "", fmt.Errorf("the bill has %d lines, but its records come to %d: dispute it", len(b.Lines), len(again.Lines))
	}
	for i, l := range again.Lines {
		if l != b.Lines[i] {
			w := b.Lines[i]
			return "", fmt.Errorf("line %d of the bill says %s of %s: %s × %s = %s, but its record comes to %s of %s: %s × %s = %s: dispute it", i+1, w.Dimension, w.Subject, w.Quantity, w.Price, w.Amount, l.Dimension, l.Subject, l.Quantity, l.Price, l.Amount)
		}
	}
	if again.Total != b.Total {
		return "", fmt.Errorf("the bill's total is %s, but its records come to %s: dispute it", b.Total, again.Total)
	}
	return BillHash(b), nil
}

// bounded refuses times that no bill has, so that a file from elsewhere cannot make
// rating long: it looks at every time band between them.
func bounded(f *northbound.BillFile) error {
	const longest = 10 * 366 * 24 * time.Hour
	b := &f.Bill
	if b.To.Before(b.From) || b.To.Sub(b.From) > longest || b.From.Year() < 1970 || b.To.Year() > 9999 {
		return fmt.Errorf("the bill's period from %s to %s is none: ask for the bill again", b.From.Format(time.RFC3339), b.To.Format(time.RFC3339))
	}
	begin := b.From.Add(-longest)
	within := func(from, to time.Time) bool { return !from.Before(begin) && !to.After(b.To) }
	for i := range f.Records.Contracts {
		r := &f.Records.Contracts[i]
		ok := within(r.Activated, r.Activated)
		for _, s := range r.Segments {
			ok = ok && within(s.From, s.To)
		}
		for _, v := range r.Intervals {
			ok = ok && within(v.From, v.To)
		}
		if !ok {
			return fmt.Errorf("the contract %s has times outside of the bill's: dispute it", r.Reservation)
		}
	}
	return nil
}

// once refuses records that are there twice: each is billed once.
func once(r northbound.BillRecords) error {
	seen := map[string]bool{}
	for i := range r.Transfers {
		if id := r.Transfers[i].Transfer; seen[id] {
			return fmt.Errorf("the transfer %.40s is on the bill twice: dispute it", id)
		} else {
			seen[id] = true
		}
	}
	for i := range r.Contracts {
		if id := r.Contracts[i].Reservation.String(); seen[id] {
			return fmt.Errorf("the contract %s is on the bill twice: dispute it", id)
		} else {
			seen[id] = true
		}
	}
	return nil
}

// BillHash is the SHA-256, in hexadecimal, of a bill's JSON.
func BillHash(b northbound.Bill) string { return hashJSON(b) }

// ReadFile reads a bill file.
func ReadFile(text []byte) (*northbound.BillFile, error) {
	f := &northbound.BillFile{}
	if err := json.Unmarshal(text, f); err != nil {
		return nil, fmt.Errorf("the file is not a bill: %w: fetch it with `dssn bill get`", err)
	}
	return f, nil
}
