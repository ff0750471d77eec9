// Package ledger turns what was used into what is owed. Tariffs are versioned
// data; rating is a pure function with exact decimals that rounds once, at the
// very end. It knows no clock, no store and no party.
//
// Functions may be called from any goroutine.
package ledger

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/cockroachdb/apd/v3"
)

// Dimension is what a price is for.
type Dimension string

// The dimensions that a bill has lines in.
const (
	DimensionVerified Dimension = "verified-bytes"     // content verified on arrival, per GB (10⁹ bytes)
	DimensionReserved Dimension = "reserved-bandwidth" // committed rate × time, per Gbit/s·s
	DimensionBurst    Dimension = "burst-bytes"        // sent above committed rate × time, per GB
	DimensionSetUp    Dimension = "set-up"             // per contract
)

// units are what quantities of each dimension are counted in.
var units = map[Dimension]string{DimensionVerified: "GB", DimensionReserved: "Gbit/s·s", DimensionBurst: "GB", DimensionSetUp: "contract"}

// Tariff is a list of prices. Prices are decimals written as text.
type Tariff struct {
	Version  string               `json:"version"`
	Currency string               `json:"currency"`
	Prices   map[Dimension]string `json:"prices"`
}

//go:embed standard.json
var standard []byte

// Standard is the tariff that is in force unless another is given.
func Standard() Tariff {
	t, err := Read(standard)
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
	for dim, p := range t.Prices {
		if units[dim] == "" {
			return Tariff{}, fmt.Errorf("read tariff %s: %q is not a dimension", t.Version, dim)
		}
		v, _, err := apd.NewFromString(p)
		if err != nil || v.Form != apd.Finite || v.Negative || v.Exponent < -18 || v.NumDigits() > 30 {
			return Tariff{}, fmt.Errorf("read tariff %s: the price %q of %s is not a decimal of at most 18 places", t.Version, p, dim)
		}
	}
	return t, nil
}

// Hash is the SHA-256 of the tariff's JSON, in hexadecimal: what a bill cites.
func (t Tariff) Hash() string {
	b, err := json.Marshal(t)
	if err != nil {
		panic("a tariff cannot be written: " + err.Error()) // plain data
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
