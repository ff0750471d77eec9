package transfer

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dssn"
	"dssn/content"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func testJournal() (journalHead, []journalRecord, []byte) {
	id, _ := dssn.ParseDataID("3fff:d55:12:7:2c21:9a3e:41c7:8d2")
	holder, err := dssn.NodeIDFrom(dssn.DataIDFrom16([16]byte{0x3f, 0xff, 8: 0x20, 9: 0x01, 15: 1}))
	if err != nil {
		panic(err)
	}
	h := journalHead{data: id, root: content.Hash([]byte("root")), transfer: [16]byte{1, 2, 3}, boot: [16]byte{4, 5, 6}, holder: holder}
	records := []journalRecord{{0, kindHeld, span{0, 1 << 20}}, {7, kindCounted, span{5, 6}}, {7, kindHeld, span{1 << 40, 1<<40 + 1}}, {8, kindKept, span{0, 9}}}
	b := h.append(nil)
	for _, r := range records {
		b = r.append(b)
	}
	return h, records, b
}

func TestJournalKeepsItsBytes(t *testing.T) {
	_, _, b := testJournal()
	var text strings.Builder
	for i := 0; i < len(b); i += 32 {
		text.WriteString(hex.EncodeToString(b[i:min(i+32, len(b))]) + "\n")
	}
	const path = "testdata/journal.hex"
	if *update {
		if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text.String()); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
}

func TestTornJournalIsReadUpToTheTear(t *testing.T) {
	h, records, b := testJournal()
	for n := range len(b) + 1 {
		got, rs, ok := parseJournal(b[:n])
		if ok != (n >= journalHeadSize) {
			t.Fatalf("%d bytes: ok %v", n, ok)
		}
		if !ok {
			continue
		}
		want := (n - journalHeadSize) / journalRecordSize
		if got != h || len(rs) != want {
			t.Errorf("%d bytes: %d records, want %d", n, len(rs), want)
		}
	}
	for i := range 8 * len(b) {
		c := bytes.Clone(b)
		c[i/8] ^= 1 << (i % 8)
		_, rs, ok := parseJournal(c)
		want := max(0, i/8-journalHeadSize) / journalRecordSize
		if i/8 < journalHeadSize && ok || i/8 >= journalHeadSize && len(rs) != want {
			t.Errorf("bit %d changed: ok %v, %d of %d records", i, ok, len(rs), len(records))
		}
	}
}

func FuzzJournal(f *testing.F) {
	_, _, b := testJournal()
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, records, ok := parseJournal(b)
		if !ok {
			return
		}
		again := h.append(nil)
		for _, r := range records {
			again = r.append(again)
		}
		if !bytes.HasPrefix(b, again) {
			t.Errorf("%x printed back as %x", b, again)
		}
	})
}
