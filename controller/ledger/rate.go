package ledger

import (
	"fmt"
	"time"

	"github.com/cockroachdb/apd/v3"

	"dssn/controller/northbound"
)

// exact has room for every product and sum of rating, 64 factors included; a result that does not
// fit is an error, never a rounding.
var exact = apd.Context{Precision: 2000, MaxExponent: apd.MaxExponent, MinExponent: apd.MinExponent, Traps: apd.DefaultTraps | apd.Inexact}

// Rate prices facts. Lines keep their order; what the tariff has no price for
// costs nothing and is still listed. total is the exact sum, rounded half to
// even to two places: the one rounding of a bill.
func Rate(t Tariff, facts []Fact) (lines []northbound.BillLine, total string, err error) {
	lines = []northbound.BillLine{}
	var sum apd.Decimal
	for _, f := range facts {
		price, _, err := t.price(f.Dimension, f.Terms, f.Status)
		if err != nil {
			return nil, "", err
		}
		var amount apd.Decimal
		if _, err := exact.Mul(&amount, &f.Quantity, &price); err != nil {
			return nil, "", fmt.Errorf("%s of %s: %w", f.Dimension, f.Subject, err)
		}
		if _, err := exact.Add(&sum, &sum, &amount); err != nil {
			return nil, "", fmt.Errorf("sum with %s of %s: %w", f.Dimension, f.Subject, err)
		}
		lines = append(lines, northbound.BillLine{Dimension: string(f.Dimension), Subject: f.Subject, Quantity: plain(&f.Quantity),
			Unit: units[f.Dimension], Price: plain(&price), Amount: plain(&amount), Record: f.Record, Status: f.Status, Terms: f.Terms})
	}
	var cents apd.Decimal
	rounding := apd.BaseContext.WithPrecision(2000)
	rounding.Rounding = apd.RoundHalfEven
	if _, err := rounding.Quantize(&cents, &sum, -2); err != nil {
		return nil, "", fmt.Errorf("round the total: %w", err)
	}
	if cents.IsZero() {
		cents.Negative = false // a credit of less than half a cent
	}
	return lines, cents.Text('f'), nil
}

// Bill rates records for a period: the same records, tariff and offsets give the
// same bill, whoever does it. Its Disputed and Number are for the caller to set.
func Bill(t Tariff, zone []northbound.ZoneOffset, from, to time.Time, r northbound.BillRecords) (northbound.Bill, error) {
	facts, err := factsOf(t, zone, from, to, r)
	if err != nil {
		return northbound.Bill{}, err
	}
	lines, total, err := Rate(t, facts)
	if err != nil {
		return northbound.Bill{}, err
	}
	return northbound.Bill{Institution: r.Period.Institution, From: from.UTC(), To: to.UTC(), Tariff: t.Version, TariffHash: t.Hash(),
		Currency: t.Currency, Zone: zone, Lines: lines, Total: total}, nil
}

// plain writes d without an exponent and without zeros that say nothing.
func plain(d *apd.Decimal) string {
	var r apd.Decimal
	r.Reduce(d)
	return r.Text('f')
}
