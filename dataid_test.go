package dssn

import (
	"encoding/json"
	"net/netip"
	"testing"
)

func sum(parts ...[]byte) (out [32]byte) {
	// A weak stand-in: the dictionary takes the hash as an argument.
	h := uint64(14695981039346656037)
	for _, p := range parts {
		for _, b := range p {
			h = (h ^ uint64(b)) * 1099511628211
		}
		h = (h ^ uint64(len(p))) * 1099511628211
	}
	for i := range out {
		out[i] = byte(h >> (8 * (i % 8)))
	}
	return out
}

func TestDataIDFieldsStandWhereTheDiagramPutsThem(t *testing.T) {
	id, err := ParseDataID("3fff:d55:12:7:2c21:9a3e:41c7:8d2")
	if err != nil {
		t.Fatal(err)
	}
	if id.Grade() != GradeGeneral2 || id.Category() != CategoryMeteorology || id.Kind() != KindVersion || id.Suite() != SuiteBLAKE3Ed25519 {
		t.Errorf("nibbles of %s = %v %v %v %v", id, id.Grade(), id.Category(), id.Kind(), id.Suite())
	}
	if got := id.Hash48(); got != 0x9a3e41c708d2 {
		t.Errorf("Hash48 = %x", got)
	}
	if got, want := id.Registrant(), netip.MustParsePrefix("3fff:d55:12:7::/64"); got != want {
		t.Errorf("Registrant = %v, want %v", got, want)
	}
	if got, want := id.Region(), netip.MustParsePrefix("3fff:d55:12::/48"); got != want {
		t.Errorf("Region = %v, want %v", got, want)
	}
	if got, want := id.Operator(), netip.MustParsePrefix("3fff:d55::/32"); got != want {
		t.Errorf("Operator = %v, want %v", got, want)
	}
}

func TestImportantAndCoreShareOneRoute(t *testing.T) {
	p := netip.MustParsePrefix("3fff:d55:12:7::/64")
	both := netip.MustParsePrefix("3fff:d55:12:7:8000::/65")
	core := netip.MustParsePrefix("3fff:d55:12:7:c000::/66")
	for _, g := range []Grade{GradeOpen, GradeGeneral1, GradeGeneral4, GradeImportant, GradeCore} {
		id, err := Mint(Labels{p, g, CategoryEnergy, KindSeries, SuiteBLAKE3Ed25519}, []byte("x"), 0, sum)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := both.Contains(id.Addr()), g == GradeImportant || g == GradeCore; got != want {
			t.Errorf("grade %v in %v: got %v, want %v", g, both, got, want)
		}
		if got, want := core.Contains(id.Addr()), g == GradeCore; got != want {
			t.Errorf("grade %v in %v: got %v, want %v", g, core, got, want)
		}
	}
}

func TestMintBindsEveryArgument(t *testing.T) {
	base := Labels{netip.MustParsePrefix("3fff:d55:12:7::/64"), GradeGeneral2, CategoryMeteorology, KindVersion, SuiteBLAKE3Ed25519}
	mint := func(l Labels, subject string, salt uint32) uint64 {
		id, err := Mint(l, []byte(subject), salt, sum)
		if err != nil {
			t.Fatal(err)
		}
		return id.Hash48()
	}
	moved, lowered := base, base
	moved.Registrant = netip.MustParsePrefix("3fff:d55:12:8::/64")
	lowered.Grade = GradeGeneral1
	seen := map[uint64]string{}
	for name, h := range map[string]uint64{
		"base": mint(base, "subject", 0), "another subject": mint(base, "Subject", 0), "another salt": mint(base, "subject", 1),
		"another registrant": mint(moved, "subject", 0), "another grade": mint(lowered, "subject", 0),
	} {
		if other, dup := seen[h]; dup {
			t.Errorf("%s and %s have the same hash %x", name, other, h)
		}
		seen[h] = name
	}
}

func TestWhatIsNotAnIdentifierIsRefusedWithANextStep(t *testing.T) {
	for _, s := range []string{"", "x", "1.2.3.4", "::ffff:1.2.3.4", "fe80::1%eth0", "fd00::1", "::1", "ff02::1",
		"3fff:d55:12:7:5c21::1", // grade 5
		"3fff:d55:12:7:2c91::1", // kind 9
		"3fff:d55:12:7:2c20::1", // suite 0
		"3fff:d55:12:7:2c23::1", // suite 3 is reserved
		"[3fff:d55:12:7:2c21::1", "dssn://3fff:d55::1"} {
		if id, err := ParseDataID(s); err == nil {
			t.Errorf("ParseDataID(%q) = %v, want an error", s, id)
		}
	}
	if _, err := ParseNodeID("3fff:d55:12:7:2c21::1"); err == nil {
		t.Error("a version was accepted as a node")
	}
}

func TestDataURIs(t *testing.T) {
	id, path, err := ParseDataURI("dssn://[3fff:d55:12:7:2c21:9a3e:41c7:8d2]/a/b c")
	if err != nil || path != "a/b c" || id.String() != "3fff:d55:12:7:2c21:9a3e:41c7:8d2" {
		t.Errorf("got %v %q %v", id, path, err)
	}
	for _, s := range []string{"http://[3fff:d55:12:7:2c21::1]/", "dssn://[3fff:d55:12:7:2c21::1", "dssn://[3fff:d55:12:7:2c21::1]x"} {
		if _, _, err := ParseDataURI(s); err == nil {
			t.Errorf("ParseDataURI(%q) accepted", s)
		}
	}
}

func FuzzParseDataID(f *testing.F) {
	f.Add("3fff:d55:12:7:2c21:9a3e:41c7:8d2")
	f.Add("dssn://[3fff:d55:12:7:11::1]/")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseDataID(s)
		if err != nil {
			return
		}
		again, err := ParseDataID(id.String())
		if err != nil || again != id {
			t.Fatalf("%q → %v → %v, %v", s, id, again, err)
		}
		if id != DataIDFrom16(id.As16()) {
			t.Fatalf("%v does not survive its bytes", id)
		}
		j, _ := json.Marshal(id)
		var back DataID
		if err := json.Unmarshal(j, &back); err != nil || back != id {
			t.Fatalf("%s → %v, %v", j, back, err)
		}
	})
}
