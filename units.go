package dssn

import (
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// Bandwidth is a rate in bits per second. It prints as 10G or 2.5M and is an
// integer in JSON. Zero is a valid rate: nothing may be sent.
type Bandwidth uint64

// The decimal multiples of the trade.
const (
	BitPerSecond Bandwidth = 1
	Kbps                   = 1000 * BitPerSecond
	Mbps                   = 1000 * Kbps
	Gbps                   = 1000 * Mbps
	Tbps                   = 1000 * Gbps
)

// ParseBandwidth reads a decimal number with an optional k, M, G or T (powers of
// 1000, bits per second): 400G, 2.5M, 64000. The number must come out as a whole
// number of bits per second.
func ParseBandwidth(s string) (Bandwidth, error) {
	v, err := parseScaled(strings.TrimSuffix(s, "bps"), 1000)
	if err != nil {
		return 0, fmt.Errorf("%q is not a bandwidth: write bits per second such as 1G, 2.5M or 64k", s)
	}
	return Bandwidth(v), nil
}

// String prints the rate with the largest multiple that keeps it exact to
// three decimals, rounding half up beyond that.
func (b Bandwidth) String() string { return formatScaled(uint64(b), 1000, "") }

// BytesIn returns the bytes that fit into d at this rate, rounded down, so the
// sender never gains from it. The result saturates instead of wrapping.
func (b Bandwidth) BytesIn(d time.Duration) ByteCount {
	if d <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(b), uint64(d))
	const per = 8 * uint64(time.Second)
	if hi >= per {
		return math.MaxUint64
	}
	q, _ := bits.Div64(hi, lo, per)
	return ByteCount(q)
}

// TimeFor returns how long n bytes take at this rate, rounded up. A zero rate
// takes the longest Duration.
func (b Bandwidth) TimeFor(n ByteCount) time.Duration {
	if b == 0 {
		if n == 0 {
			return 0
		}
		return math.MaxInt64
	}
	hi, lo := bits.Mul64(uint64(n), 8*uint64(time.Second))
	if hi >= uint64(b) {
		return math.MaxInt64
	}
	q, r := bits.Div64(hi, lo, uint64(b))
	if r != 0 {
		q++
	}
	if q > math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(q)
}

// RateOf returns n bytes over d as a rate, rounded down; zero if d is not positive.
func RateOf(n ByteCount, d time.Duration) Bandwidth {
	if d <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(n), 8*uint64(time.Second))
	if hi >= uint64(d) {
		return math.MaxUint64
	}
	q, _ := bits.Div64(hi, lo, uint64(d))
	return Bandwidth(q)
}

// ByteCount is an amount of data in bytes. It prints in binary multiples
// (KiB, MiB …) and is an integer in JSON.
type ByteCount uint64

// The binary multiples.
const (
	Byte ByteCount = 1
	KiB            = 1024 * Byte
	MiB            = 1024 * KiB
	GiB            = 1024 * MiB
	TiB            = 1024 * GiB
)

// ParseByteCount reads a decimal number with an optional multiple: KiB, MiB,
// GiB, TiB (powers of 1024) or kB, MB, GB, TB (powers of 1000).
func ParseByteCount(s string) (ByteCount, error) {
	t, base := s, uint64(1000)
	if r, ok := strings.CutSuffix(t, "iB"); ok {
		t, base = r, 1024
	} else {
		t = strings.TrimSuffix(t, "B")
	}
	v, err := parseScaled(t, base)
	if err != nil {
		return 0, fmt.Errorf("%q is not an amount of data: write bytes such as 16KiB, 1GiB or 5GB", s)
	}
	return ByteCount(v), nil
}

// String prints the amount in binary multiples.
func (n ByteCount) String() string {
	if n < KiB {
		return strconv.FormatUint(uint64(n), 10) + " B"
	}
	return formatScaled(uint64(n), 1024, " ") + "iB"
}

const multiples = "kMGT"

func parseScaled(s string, base uint64) (uint64, error) {
	scale := uint64(1)
	if n := len(s); n > 0 {
		c := s[n-1]
		if c == 'K' {
			c = 'k'
		}
		if i := strings.IndexByte(multiples, c); i >= 0 {
			for range i + 1 {
				scale *= base
			}
			s = s[:n-1]
		}
	}
	whole, frac, hasFrac := strings.Cut(s, ".")
	if whole == "" || hasFrac && frac == "" || len(frac) > 12 || strings.ContainsAny(s, "+-_eExX ") {
		return 0, strconv.ErrSyntax
	}
	v, err := strconv.ParseUint(whole, 10, 64)
	if err != nil {
		return 0, err
	}
	hi, v := bits.Mul64(v, scale)
	if hi != 0 {
		return 0, strconv.ErrRange
	}
	if hasFrac {
		f, err := strconv.ParseUint(frac, 10, 64)
		if err != nil {
			return 0, err
		}
		den := uint64(1)
		for range frac {
			den *= 10
		}
		hi, lo := bits.Mul64(f, scale)
		q, r := bits.Div64(hi, lo, den)
		if r != 0 {
			return 0, strconv.ErrSyntax
		}
		v, hi = bits.Add64(v, q, 0)
		if hi != 0 {
			return 0, strconv.ErrRange
		}
	}
	return v, nil
}

func formatScaled(v, base uint64, sep string) string {
	if v < base {
		return strconv.FormatUint(v, 10)
	}
	unit, i := base, 0
	for v/unit >= base && i+1 < len(multiples) {
		unit *= base
		i++
	}
	whole, rest := v/unit, v%unit
	// Thousandths, rounded half up; a carry may lift whole to base, which reads well enough.
	hi, lo := bits.Mul64(rest, 1000)
	lo, c := bits.Add64(lo, unit/2, 0)
	milli, _ := bits.Div64(hi+c, lo, unit)
	whole, milli = whole+milli/1000, milli%1000
	s := strconv.FormatUint(whole, 10)
	if milli != 0 {
		s += "." + strings.TrimRight(fmt.Sprintf("%03d", milli), "0")
	}
	m := multiples[i : i+1]
	if base == 1024 && m == "k" {
		m = "K"
	}
	return s + sep + m
}

// UnmarshalJSON reads an integer of bits per second, or text as ParseBandwidth does.
func (b *Bandwidth) UnmarshalJSON(data []byte) error {
	return unmarshalQuantity(data, (*uint64)(b), func(s string) (uint64, error) { v, err := ParseBandwidth(s); return uint64(v), err })
}

// UnmarshalJSON reads an integer of bytes, or text as ParseByteCount does.
func (n *ByteCount) UnmarshalJSON(data []byte) error {
	return unmarshalQuantity(data, (*uint64)(n), func(s string) (uint64, error) { v, err := ParseByteCount(s); return uint64(v), err })
}

func unmarshalQuantity(data []byte, dst *uint64, parse func(string) (uint64, error)) error {
	if len(data) > 0 && data[0] == '"' {
		var s string
		if err := json.Unmarshal(data, &s); err != nil {
			return err
		}
		v, err := parse(s)
		if err == nil {
			*dst = v
		}
		return err
	}
	return json.Unmarshal(data, dst)
}
