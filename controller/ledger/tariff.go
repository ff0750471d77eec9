// Package ledger turns what was used into what is owed. Tariffs are versioned
// data; rating is a pure function of tariff, period and records, with exact
// decimals that are rounded once, at the very end. It knows no clock, no store
// and no party; only Offsets looks something up, the time zone database, and
// what it found is written on the bill.
//
//	tariff.go   what a tariff says, and which prices it has for what
//	zone.go     time bands: local time, and where a time is split
//	facts.go    single quantities
//	records.go  from records to facts
//	rate.go     from facts to a bill
//	verify.go   the same again, by somebody else
//	export.go   other people's formats
//
// Functions may be called from any goroutine.
package ledger

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/apd/v3"

	"dssn"
	"dssn/controller/northbound"
)

// Dimension is what a price is for.
type Dimension string

// The dimensions that a bill has lines in. The first four are on every bill;
// the others only where the tariff has a price for them.
const (
	DimensionVerified   Dimension = "verified-bytes"       // content verified on arrival, per GB (10⁹ bytes)
	DimensionReserved   Dimension = "reserved-bandwidth"   // committed rate × time, per Gbit/s·s, used and unused
	DimensionBurst      Dimension = "burst-bytes"          // arrived above committed rate × time, per GB
	DimensionSetUp      Dimension = "set-up"               // per contract
	DimensionBoost      Dimension = "boost-bandwidth"      // what a boost added × time, per Gbit/s·s
	DimensionHours      Dimension = "reserved-hours"       // highest committed rate in each clock hour, per Gbit/s·h
	DimensionPercentile Dimension = "percentile-bandwidth" // percentile of five-minute rates, per Gbit/s
	DimensionFlat       Dimension = "flat"                 // per calendar month begun
	DimensionKept       Dimension = "deadline-kept"        // a bulk contract's volume, done in time, per GB
	DimensionMissed     Dimension = "deadline-missed"      // the same, too late: a credit, per GB
)

// units are what quantities of each dimension are counted in.
var units = map[Dimension]string{DimensionVerified: "GB", DimensionReserved: "Gbit/s·s", DimensionBurst: "GB", DimensionSetUp: "contract",
	DimensionBoost: "Gbit/s·s", DimensionHours: "Gbit/s·h", DimensionPercentile: "Gbit/s", DimensionFlat: "month",
	DimensionKept: "GB", DimensionMissed: "GB"}

// Tariff is a list of prices. Prices and factors are decimals written as text.
// A quantity's price is that of its dimension times every factor that applies.
type Tariff struct {
	Version  string               `json:"version"`
	Currency string               `json:"currency"`
	Prices   map[Dimension]string `json:"prices"`
	// Zone is the IANA name of the time zone in which Bands and months are told;
	// empty means UTC.
	Zone string `json:"zone,omitempty"`
	// Bands name times of the day; the first that covers a moment is its band.
	Bands []Band `json:"bands,omitempty"`
	// Distances and Latencies name what is up to a bound, in rising order; the
	// last may be without.
	Distances []Step `json:"distances,omitempty"`
	Latencies []Step `json:"latencies,omitempty"`
	// Factors raise or lower prices.
	Factors []Factor `json:"factors,omitempty"`
	// Percentile is for DimensionPercentile, 1 to 100; 0 means 95.
	Percentile int `json:"percentile,omitempty"`
}

// Band is a time of the day on some days. Times are "15:04" at full quarters of
// an hour; a band whose end is not after its beginning goes on into the next day.
type Band struct {
	Name string   `json:"name"`
	From string   `json:"from"`
	To   string   `json:"to"`             // "24:00" is the day's end
	Days []string `json:"days,omitempty"` // "mon" … "sun" on which it begins; none means all
}

// Step is a class up to a bound: UpTo is links for distances, microseconds one
// way for latencies; 0 means without bound.
type Step struct {
	Name string `json:"name"`
	UpTo int64  `json:"up_to,omitempty"`
}

// Factor multiplies the prices of what it applies to.
type Factor struct {
	Dimension Dimension `json:"dimension,omitempty"` // empty: all
	When      Condition `json:"when"`
	Factor    string    `json:"factor"`
}

// Condition is on the terms of a quantity; what is empty asks nothing.
type Condition struct {
	Band         string `json:"band,omitempty"`
	Distance     string `json:"distance,omitempty"`
	Latency      string `json:"latency,omitempty"`
	Class        string `json:"class,omitempty"`
	Grade        string `json:"grade,omitempty"`
	Status       string `json:"status,omitempty"` // Used or Unused
	PriorityFrom int    `json:"priority_from,omitempty"`
	PriorityTo   int    `json:"priority_to,omitempty"`
}

func (c *Condition) holds(t northbound.BillTerms, status string) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	return is(c.Band, t.Band) && is(c.Distance, t.Distance) && is(c.Latency, t.Latency) && is(c.Class, t.Class) && is(c.Grade, t.Grade) &&
		is(c.Status, status) && t.Priority >= c.PriorityFrom && (c.PriorityTo == 0 || t.Priority <= c.PriorityTo)
}

//go:embed tariffs
var tariffs embed.FS

// Examples are the names of the tariffs that come with the program.
func Examples() (names []string) {
	files, _ := tariffs.ReadDir("tariffs") // embedded
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f.Name(), ".json"))
	}
	return names
}

// Example returns one of Examples as a file's text; ok is false for other names.
func Example(name string) (text []byte, ok bool) {
	text, err := tariffs.ReadFile("tariffs/" + name + ".json")
	return text, err == nil && slices.Contains(Examples(), name)
}

// Standard is the tariff that is in force unless another is given.
func Standard() Tariff {
	text, _ := Example("standard")
	t, err := Read(text)
	if err != nil {
		panic("the embedded tariff: " + err.Error()) // held by a test
	}
	return t
}

// Read reads a tariff and refuses what it cannot rate by.
func Read(text []byte) (Tariff, error) {
	var t Tariff
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&t); err != nil {
		return Tariff{}, fmt.Errorf("read tariff: %w", err)
	}
	if d.More() {
		return Tariff{}, fmt.Errorf("read tariff: something stands behind it")
	}
	if t.Version == "" || t.Currency == "" {
		return Tariff{}, fmt.Errorf("read tariff: it needs a version and a currency")
	}
	if err := t.check(); err != nil {
		return Tariff{}, fmt.Errorf("read tariff %.40s: %w", t.Version, err)
	}
	return t, nil
}

// maxRules bounds each list of a tariff: with 16 digits a factor, the product of
// all still fits the exact context many times over.
const maxRules = 64

func (t *Tariff) check() error {
	for dim, p := range t.Prices {
		if units[dim] == "" {
			return fmt.Errorf("%.40q is not a dimension", dim)
		}
		v, ok := decimal(p, 18, 30)
		if !ok || v.Negative && dim != DimensionMissed {
			return fmt.Errorf("the price %.40q of %s is not a decimal of at most 18 places", p, dim)
		}
	}
	if len(t.Bands) > maxRules || len(t.Distances) > maxRules || len(t.Latencies) > maxRules || len(t.Factors) > maxRules {
		return fmt.Errorf("a list has more than %d entries", maxRules)
	}
	if t.Percentile < 0 || t.Percentile > 100 {
		return fmt.Errorf("the percentile %d is not between 1 and 100", t.Percentile)
	}
	named := map[string]bool{}
	for i := range t.Bands {
		if _, err := t.Bands[i].read(); err != nil {
			return err
		}
		named["band "+t.Bands[i].Name] = true
	}
	for what, steps := range map[string][]Step{"distance": t.Distances, "latency": t.Latencies} {
		for i, s := range steps {
			if s.Name == "" || s.UpTo < 0 || s.UpTo == 0 && i < len(steps)-1 || i > 0 && s.UpTo != 0 && s.UpTo <= steps[i-1].UpTo {
				return fmt.Errorf("the %s %.40q needs a name and a bound above the one before it; only the last has none", what, s.Name)
			}
			named[what+" "+s.Name] = true
		}
	}
	for i := range t.Factors {
		if err := t.Factors[i].check(named); err != nil {
			return fmt.Errorf("factor %d: %w", i+1, err)
		}
	}
	return nil
}

// check refuses a factor that can never apply: a misspelt name would otherwise
// be a wrong price that nobody sees.
func (f *Factor) check(named map[string]bool) error {
	if v, ok := decimal(f.Factor, 12, 16); !ok || v.Negative {
		return fmt.Errorf("%.40q is not a decimal of at most 12 places", f.Factor)
	}
	if f.Dimension != "" && units[f.Dimension] == "" {
		return fmt.Errorf("%.40q is not a dimension", f.Dimension)
	}
	for what, name := range map[string]string{"band": f.When.Band, "distance": f.When.Distance, "latency": f.When.Latency} {
		if name != "" && !named[what+" "+name] {
			return fmt.Errorf("the tariff has no %s %.40q", what, name)
		}
	}
	if c := f.When.Class; c != "" {
		if _, err := dssn.ParseClass(c); err != nil {
			return err
		}
	}
	if g := f.When.Grade; g != "" {
		if v, err := dssn.ParseGrade(g); err != nil || v.String() != g {
			return fmt.Errorf("%.40q is not a grade: use open, general-1 to general-4, important or core", g)
		}
	}
	if s := f.When.Status; s != "" && s != statusUsed && s != statusUnused {
		return fmt.Errorf("%.40q is not a status: use Used or Unused", s)
	}
	if f.When.PriorityFrom < 0 || f.When.PriorityTo < 0 || f.When.PriorityFrom > 100 || f.When.PriorityTo > 100 {
		return fmt.Errorf("a priority is from 1 to 100")
	}
	return nil
}

// decimal reads a finite decimal with at most so many places and digits.
func decimal(s string, places, digits int32) (*apd.Decimal, bool) {
	v, _, err := apd.NewFromString(s)
	ok := err == nil && v.Form == apd.Finite && v.Exponent >= -places && v.Exponent <= digits && v.NumDigits() <= int64(digits)
	return v, ok
}

// Hash is the SHA-256 of the tariff's JSON, in hexadecimal: what a bill cites.
func (t Tariff) Hash() string { return hashJSON(t) }

func hashJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("plain data cannot be written: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// price is what one unit costs, exactly; ok is false where the tariff has no
// price for the dimension.
func (t *Tariff) price(dim Dimension, terms northbound.BillTerms, status string) (p apd.Decimal, ok bool, err error) {
	text := t.Prices[dim]
	if text == "" {
		return p, false, nil
	}
	if _, _, err := p.SetString(text); err != nil {
		return p, true, fmt.Errorf("price of %s: %w", dim, err)
	}
	for i := range t.Factors {
		f := &t.Factors[i]
		if f.Dimension != "" && f.Dimension != dim || !f.When.holds(terms, status) {
			continue
		}
		v, _, err := apd.NewFromString(f.Factor)
		if err != nil {
			return p, true, fmt.Errorf("factor %d: %w", i+1, err)
		}
		if _, err := exact.Mul(&p, &p, v); err != nil {
			return p, true, fmt.Errorf("price of %s with factor %d: %w", dim, i+1, err)
		}
	}
	return p, true, nil
}

// step names the first class whose bound v does not exceed.
func step(steps []Step, v int64) string {
	for _, s := range steps {
		if s.UpTo == 0 || v <= s.UpTo {
			return s.Name
		}
	}
	return ""
}
