package content

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"lukechampine.com/blake3"

	"dssn"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with a file of hexadecimal digits, 32 bytes a line.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	var b strings.Builder
	for i := 0; i < len(got); i += 32 {
		b.WriteString(hex.EncodeToString(got[i:min(i+32, len(got))]))
		b.WriteByte('\n')
	}
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
}

func testKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
}

func testRecord(t testing.TB) *Record {
	t.Helper()
	r := &Record{
		Name:       "era5/2024 — daily means",
		Registrant: netip.MustParsePrefix("3fff:d55:12:7::/64"),
		Grade:      dssn.GradeGeneral2,
		Category:   dssn.CategoryMeteorology,
		Root:       Hash([]byte("a manifest")),
		Length:     1 << 30,
		Files:      12,
		Created:    time.Date(2026, 11, 24, 3, 4, 5, 678, time.FixedZone("", 8*3600)),
	}
	if err := r.Sign(testKey()); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRecordKeepsItsBytes(t *testing.T) {
	b, err := testRecord(t).AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/record.hex", b)
}

func TestSignedRecordVerifiesInBothForms(t *testing.T) {
	r := testRecord(t)
	if err := r.Verify(); err != nil {
		t.Fatal(err)
	}
	b, err := r.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	fromBinary, err := ParseRecord(b)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	fromJSON := new(Record)
	if err := json.Unmarshal(text, fromJSON); err != nil {
		t.Fatal(err)
	}
	for _, got := range []*Record{fromBinary, fromJSON} {
		if err := got.Verify(); err != nil {
			t.Error(err)
		}
		again, err := json.Marshal(got)
		if err != nil || !bytes.Equal(again, text) {
			t.Errorf("%s, %v\nwant %s", again, err, text)
		}
	}
}

func TestAnyChangedBitOfARecordIsNoticed(t *testing.T) {
	b, err := testRecord(t).AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 * len(b) {
		c := bytes.Clone(b)
		c[i/8] ^= 1 << (i % 8)
		if r, err := ParseRecord(c); err == nil && r.Verify() == nil {
			t.Errorf("bit %d of byte %d changed and the record still verifies", i%8, i/8)
		}
	}
}

func TestRecordRefusesWhatItCannotMean(t *testing.T) {
	for what, change := range map[string]func(*Record){
		"no name":               func(r *Record) { r.Name = "" },
		"long name":             func(r *Record) { r.Name = strings.Repeat("x", MaxNameBytes+1) },
		"name in Latin-1":       func(r *Record) { r.Name = "caf\xe9" },
		"name with a line feed": func(r *Record) { r.Name = "a\nb" },
		"name that turns about": func(r *Record) { r.Name = "a\u202eb" },
		"name ending in space":  func(r *Record) { r.Name = "a " },
		"registrant of 48 bits": func(r *Record) { r.Registrant = netip.MustParsePrefix("3fff:d55:12::/48") },
		"registrant with host":  func(r *Record) { r.Registrant = netip.MustParsePrefix("3fff:d55:12:7::1/64") },
		"no registrant":         func(r *Record) { r.Registrant = netip.Prefix{} },
		"grade 5":               func(r *Record) { r.Grade = 5 },
		"category 16":           func(r *Record) { r.Category = 16 },
		"no files":              func(r *Record) { r.Files = 0 },
		"length beyond files":   func(r *Record) { r.Length = 1 << 63 },
		"before 1970":           func(r *Record) { r.Created = time.Unix(-1, 0) },
	} {
		r := testRecord(t)
		change(r)
		if err := r.Sign(testKey()); err == nil {
			t.Errorf("%s: signed", what)
		}
		if err := r.Verify(); err == nil {
			t.Errorf("%s: verified", what)
		}
	}
	r := testRecord(t)
	r.Created = r.Created.Add(time.Millisecond)
	if r.Verify() == nil {
		t.Error("a fraction of a second, which the signature does not cover, was accepted")
	}
	if err := r.Sign(testKey()[:31]); err == nil {
		t.Error("signed with half a key")
	}
}

func TestAnotherGradeIsAnotherIdentifier(t *testing.T) {
	r := testRecord(t)
	lowered := *r
	lowered.Grade = dssn.GradeOpen
	if lowered.Verify() == nil {
		t.Error("a record with its grade lowered verifies")
	}
	lowered.Signature = ed25519.Sign(testKey(), lowered.AppendSigned(nil))
	if err := lowered.Verify(); err == nil || !strings.Contains(err.Error(), "its content gives") {
		t.Errorf("a re-signed record whose identifier keeps the old grade: %v", err)
	}
}

func TestIdentifiersFollowFromTheirSubjects(t *testing.T) {
	reg := netip.MustParsePrefix("3fff:d55:12:7::/64")
	n, err := MintNode(reg, testKey().Public().(ed25519.PublicKey), 0)
	if err != nil {
		t.Fatal(err)
	}
	if n.DataID().Registrant() != reg || n.DataID().Kind() != dssn.KindNode {
		t.Errorf("node %s is not of registrant %s", n, reg)
	}
	if o, _ := MintNode(reg, testKey().Public().(ed25519.PublicKey), 1); o == n {
		t.Error("the salt changes nothing")
	}
	if _, err := MintNode(reg, make([]byte, 31), 0); err == nil {
		t.Error("minted from half a key")
	}
	r := testRecord(t)
	if want := "3fff:d55:12:7:2c21:"; !strings.HasPrefix(r.ID.String(), want) {
		t.Errorf("%s does not begin with %s", r.ID, want)
	}
}

func TestHashIsBLAKE3OfTheConcatenation(t *testing.T) {
	want := blake3.Sum256([]byte("abcdef"))
	for _, parts := range [][][]byte{{[]byte("abcdef")}, {[]byte("ab"), nil, []byte("cdef")}} {
		if got := Hash(parts...); got != want {
			t.Errorf("Hash(%q) = %x, want %x", parts, got, want)
		}
	}
	// The value that every BLAKE3 implementation gives for no input.
	if got := Digest(Hash()).String(); got != "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262" {
		t.Errorf("Hash() = %s", got)
	}
}

func FuzzRecordBinary(f *testing.F) {
	b, err := testRecord(f).AppendBinary(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRecord(b)
		if err != nil {
			return
		}
		again, err := r.AppendBinary(nil)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x printed back as %x, %v", b, again, err)
		}
	})
}

func FuzzRecordJSON(f *testing.F) {
	b, err := json.Marshal(testRecord(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		r := new(Record)
		if json.Unmarshal(b, r) != nil || r.Verify() != nil {
			return
		}
		bin, err := r.AppendBinary(nil)
		if err != nil {
			t.Fatalf("verified, but %v", err)
		}
		if again, err := ParseRecord(bin); err != nil || again.Verify() != nil {
			t.Errorf("verified as JSON and not as bytes: %v", err)
		}
	})
}
