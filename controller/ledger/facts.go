package ledger

import (
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
	Terms     northbound.BillTerms
}

const (
	statusUsed   = "Used"
	statusUnused = "Unused"
)

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

// SetUp is one contract made.
func SetUp(reservation, record string) Fact {
	return Fact{Dimension: DimensionSetUp, Subject: reservation, Quantity: scaled(big.NewInt(1), 0), Record: record}
}
