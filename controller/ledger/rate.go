package ledger

import (
	"fmt"
	"math/big"
	"time"

	"github.com/cockroachdb/apd/v3"

	"dssn"
	"dssn/controller/northbound"
)

// Fact is one quantity to be rated and the hash of the record it is taken from.
type Fact struct {
	Dimension Dimension
	Subject   string
	Quantity  apd.Decimal
	Record    string
	Status    string // of reserved bandwidth: Used, Unused or unknown
}

// BitTime is a sum of rates times durations, in bits per second × nanoseconds.
// The zero value is empty.
type BitTime struct{ v big.Int }

// Add adds rate over d; nothing if d is not positive.
func (b *BitTime) Add(rate dssn.Bandwidth, d time.Duration) {
	if d <= 0 {
		return
	}
	var p big.Int
	p.SetUint64(uint64(rate))
	b.v.Add(&b.v, p.Mul(&p, big.NewInt(int64(d))))
}

// IsZero reports whether nothing was added.
func (b *BitTime) IsZero() bool { return b.v.Sign() == 0 }

// Bytes returns the bytes that fit into the sum, rounded up: in favour of who pays.
func (b *BitTime) Bytes() uint64 {
	var q, m big.Int
	q.DivMod(&b.v, big.NewInt(8e9), &m)
	if m.Sign() > 0 {
		q.Add(&q, big.NewInt(1))
	}
	if !q.IsUint64() {
		return 1<<64 - 1
	}
	return q.Uint64()
}

// scaled returns v·10^exponent.
func scaled(v *big.Int, exponent int32) (d apd.Decimal) {
	d.Coeff.SetMathBigInt(v)
	d.Exponent = exponent
	return d
}

func bytesFact(dim Dimension, subject string, n uint64, record string) Fact {
	return Fact{Dimension: dim, Subject: subject, Quantity: scaled(new(big.Int).SetUint64(n), -9), Record: record}
}

// VerifiedBytes is content that a receiver verified and a holder served.
func VerifiedBytes(transfer string, n uint64, record string) Fact {
	return bytesFact(DimensionVerified, transfer, n, record)
}

// BurstBytes is what a contract carried above its committed rate times its time.
func BurstBytes(reservation string, n uint64, record string) Fact {
	return bytesFact(DimensionBurst, reservation, n, record)
}

// ReservedBandwidth is a committed rate held over a time.
func ReservedBandwidth(reservation string, b BitTime, record string) Fact {
	return Fact{Dimension: DimensionReserved, Subject: reservation, Quantity: scaled(&b.v, -18), Record: record}
}

// SplitReserved is ReservedBandwidth as two facts, by how much of it the sent
// bytes used: together they are as much as the one, to the last digit.
func SplitReserved(reservation string, b BitTime, sent uint64, record string) []Fact {
	var used BitTime
	used.v.Mul(new(big.Int).SetUint64(sent), big.NewInt(8e9))
	if used.v.Cmp(&b.v) > 0 {
		used.v.Set(&b.v)
	}
	var rest BitTime
	rest.v.Sub(&b.v, &used.v)
	var out []Fact
	for _, p := range []struct {
		b      *BitTime
		status string
	}{{&used, "Used"}, {&rest, "Unused"}} {
		if !p.b.IsZero() {
			f := ReservedBandwidth(reservation, *p.b, record)
			f.Status = p.status
			out = append(out, f)
		}
	}
	return out
}

// Equal reports whether two sums are the same.
func (b *BitTime) Equal(o *BitTime) bool { return b.v.Cmp(&o.v) == 0 }

// SetUp is one contract made.
func SetUp(reservation, record string) Fact {
	return Fact{Dimension: DimensionSetUp, Subject: reservation, Quantity: scaled(big.NewInt(1), 0), Record: record}
}

// exact has room for every product and sum of rating; a result that does not
// fit is an error, never a rounding.
var exact = apd.Context{Precision: 200, MaxExponent: apd.MaxExponent, MinExponent: apd.MinExponent, Traps: apd.DefaultTraps | apd.Inexact}

// Rate prices facts. Lines keep their order; what the tariff has no price for
// costs nothing and is still listed. total is the exact sum, rounded half to
// even to two places: the one rounding of a bill.
func Rate(t Tariff, facts []Fact) (lines []northbound.BillLine, total string, err error) {
	lines = []northbound.BillLine{}
	var sum apd.Decimal
	for _, f := range facts {
		text := t.Prices[f.Dimension]
		if text == "" {
			text = "0"
		}
		price, _, err := apd.NewFromString(text)
		if err != nil {
			return nil, "", fmt.Errorf("price of %s: %w", f.Dimension, err)
		}
		var amount apd.Decimal
		if _, err := exact.Mul(&amount, &f.Quantity, price); err != nil {
			return nil, "", fmt.Errorf("%s of %s: %w", f.Dimension, f.Subject, err)
		}
		if _, err := exact.Add(&sum, &sum, &amount); err != nil {
			return nil, "", fmt.Errorf("sum with %s of %s: %w", f.Dimension, f.Subject, err)
		}
		lines = append(lines, northbound.BillLine{Dimension: string(f.Dimension), Subject: f.Subject, Quantity: plain(&f.Quantity),
			Unit: units[f.Dimension], Price: text, Amount: plain(&amount), Record: f.Record, Status: f.Status})
	}
	var cents apd.Decimal
	rounding := apd.BaseContext.WithPrecision(200)
	rounding.Rounding = apd.RoundHalfEven
	if _, err := rounding.Quantize(&cents, &sum, -2); err != nil {
		return nil, "", fmt.Errorf("round the total: %w", err)
	}
	return lines, cents.Text('f'), nil
}

// plain writes d without an exponent and without zeros that say nothing.
func plain(d *apd.Decimal) string {
	var r apd.Decimal
	r.Reduce(d)
	return r.Text('f')
}
