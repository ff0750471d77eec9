package dssn

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// ReservationID is the one number that runs through everything: request, path,
// policer, meter, usage record, bill line and receipt. Zero is invalid. It
// prints as r- and sixteen hexadecimal digits.
type ReservationID uint64

// NewReservationID draws an identifier from r, which is crypto/rand.Reader
// outside of tests.
func NewReservationID(r io.Reader) (ReservationID, error) {
	if r == nil {
		r = rand.Reader
	}
	var b [8]byte
	for {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return 0, fmt.Errorf("draw reservation identifier: %w", err)
		}
		if id := ReservationID(binary.BigEndian.Uint64(b[:])); id != 0 {
			return id, nil
		}
	}
}

// ParseReservationID reads what String prints.
func ParseReservationID(s string) (ReservationID, error) {
	h, ok := strings.CutPrefix(s, "r-")
	v, err := strconv.ParseUint(h, 16, 64)
	if !ok || err != nil || v == 0 || len(h) != 16 {
		return 0, fmt.Errorf("%q is not a reservation: write r- and sixteen hexadecimal digits, as `dssn reserve` printed it", s)
	}
	return ReservationID(v), nil
}

// String returns r- and sixteen hexadecimal digits.
func (r ReservationID) String() string { return fmt.Sprintf("r-%016x", uint64(r)) }

// MarshalText implements encoding.TextMarshaler; zero is empty text.
func (r ReservationID) MarshalText() ([]byte, error) {
	if r == 0 {
		return nil, nil
	}
	return []byte(r.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *ReservationID) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*r = 0
		return nil
	}
	*r, err = ParseReservationID(string(b))
	return err
}

// Class says how a unit of traffic is treated. The zero value is background.
type Class uint8

// The classes, least to most protected: background takes what is left, bulk has
// a volume and a deadline, elastic has a committed rate and a ceiling shared by
// weighted max-min fairness, assured has an admitted rate and delay bound.
const (
	ClassBackground Class = iota
	ClassBulk
	ClassElastic
	ClassAssured
)

var classNames = []string{"background", "bulk", "elastic", "assured"}

// String returns the name that ParseClass reads.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return fmt.Sprintf("class(%d)", uint8(c))
}

// ParseClass reads a class by name.
func ParseClass(s string) (Class, error) {
	if i := slices.Index(classNames, s); i >= 0 {
		return Class(i), nil
	}
	return 0, fmt.Errorf("%q is not a class: use assured, elastic, bulk or background", s)
}

// MarshalText implements encoding.TextMarshaler.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *Class) UnmarshalText(b []byte) (err error) { *c, err = ParseClass(string(b)); return err }

// Excess says what happens to traffic above its allocated rate.
type Excess uint8

// The three treatments of excess traffic. The zero value drops it.
const (
	ExcessDrop Excess = iota
	ExcessScavenger
	ExcessBestEffort
)

var excessNames = []string{"drop", "scavenger", "best-effort"}

// String returns the name that ParseExcess reads.
func (e Excess) String() string {
	if int(e) < len(excessNames) {
		return excessNames[e]
	}
	return fmt.Sprintf("excess(%d)", uint8(e))
}

// ParseExcess reads a treatment by name.
func ParseExcess(s string) (Excess, error) {
	if i := slices.Index(excessNames, s); i >= 0 {
		return Excess(i), nil
	}
	return 0, fmt.Errorf("%q is not a treatment of excess: use drop, scavenger or best-effort", s)
}

// MarshalText implements encoding.TextMarshaler.
func (e Excess) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (e *Excess) UnmarshalText(b []byte) (err error) { *e, err = ParseExcess(string(b)); return err }
