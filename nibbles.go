package dssn

import (
	"fmt"
	"strconv"
	"strings"
)

// Grade is the protection grade of data (GB/T 43697-2024): open, general in
// four levels, important, core. The high bit means important or core, so one
// /65 route or filter covers both.
type Grade uint8

// The grades. General levels are GradeGeneral1..4.
const (
	GradeOpen      Grade = 0x0
	GradeGeneral1  Grade = 0x1
	GradeGeneral2  Grade = 0x2
	GradeGeneral3  Grade = 0x3
	GradeGeneral4  Grade = 0x4
	GradeImportant Grade = 0x8
	GradeCore      Grade = 0xc
)

// Valid reports whether g has a meaning.
func (g Grade) Valid() bool { return g <= GradeGeneral4 || g == GradeImportant || g == GradeCore }

// String returns the name that ParseGrade reads.
func (g Grade) String() string {
	switch {
	case g == GradeOpen:
		return "open"
	case g <= GradeGeneral4:
		return "general-" + strconv.Itoa(int(g))
	case g == GradeImportant:
		return "important"
	case g == GradeCore:
		return "core"
	}
	return fmt.Sprintf("grade(%x)", uint8(g))
}

// ParseGrade reads open, 0–4, general-1 … general-4, important (8) or core (c).
func ParseGrade(s string) (Grade, error) {
	switch t := strings.ToLower(s); t {
	case "open", "0":
		return GradeOpen, nil
	case "important", "8":
		return GradeImportant, nil
	case "core", "c":
		return GradeCore, nil
	default:
		t = strings.TrimPrefix(t, "general-")
		if len(t) == 1 && t[0] >= '1' && t[0] <= '4' {
			return Grade(t[0] - '0'), nil
		}
	}
	return 0, fmt.Errorf("%q is not a grade: use 0 (open), 1 to 4 (general), 8 (important) or c (core)", s)
}

// MarshalText implements encoding.TextMarshaler.
func (g Grade) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (g *Grade) UnmarshalText(b []byte) (err error) { *g, err = ParseGrade(string(b)); return err }

// Category is the sector that data belongs to.
type Category uint8

// The categories, in the order of their nibble.
const (
	CategoryCrossSector Category = iota
	CategoryIndustry
	CategoryTelecom
	CategoryFinance
	CategoryEnergy
	CategoryTransport
	CategoryNaturalResources
	CategoryHealth
	CategoryEducation
	CategoryScience
	CategoryGovernment
	CategoryAgriculture
	CategoryMeteorology
	CategoryAviation
	CategoryTrade
	CategoryPrivate
)

var categoryNames = [16]string{"cross-sector", "industry", "telecom", "finance", "energy", "transport",
	"natural-resources", "health", "education", "science", "government", "agriculture", "meteorology",
	"aviation", "trade", "private"}

// String returns the name that ParseCategory reads.
func (c Category) String() string {
	if int(c) < len(categoryNames) {
		return categoryNames[c]
	}
	return fmt.Sprintf("category(%d)", uint8(c))
}

// ParseCategory reads a category by name or by its hexadecimal digit.
func ParseCategory(s string) (Category, error) {
	t := strings.ToLower(s)
	for i, n := range categoryNames {
		if t == n || t == strconv.FormatInt(int64(i), 16) {
			return Category(i), nil
		}
	}
	return 0, fmt.Errorf("%q is not a category: use one of %s", s, strings.Join(categoryNames[:], ", "))
}

// MarshalText implements encoding.TextMarshaler.
func (c Category) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *Category) UnmarshalText(b []byte) (err error) {
	*c, err = ParseCategory(string(b))
	return err
}

// Kind says what an identifier names.
type Kind uint8

// The kinds, in the order of their nibble.
const (
	KindNode Kind = iota
	KindSeries
	KindVersion
	KindService
	KindCollection
	KindContract
	KindCircuit
	KindStream
)

var kindNames = [...]string{"node", "series", "version", "service", "collection", "contract", "circuit", "stream"}

// Valid reports whether k has a meaning.
func (k Kind) Valid() bool { return int(k) < len(kindNames) }

// String returns the kind's name.
func (k Kind) String() string {
	if k.Valid() {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Suite names the hash and signature behind an identifier.
type Suite uint8

// The suites. SM3+SM2 and the ML-DSA variant of suite 1 are reserved numbers;
// identifiers that carry them are refused.
const (
	SuiteBLAKE3Ed25519 Suite = 1
	SuiteSHA256P256    Suite = 2
)

// Valid reports whether s can be used today.
func (s Suite) Valid() bool { return s == SuiteBLAKE3Ed25519 || s == SuiteSHA256P256 }

// String returns the suite's name.
func (s Suite) String() string {
	switch s {
	case SuiteBLAKE3Ed25519:
		return "blake3-ed25519"
	case SuiteSHA256P256:
		return "sha256-p256"
	}
	return fmt.Sprintf("suite(%d)", uint8(s))
}
