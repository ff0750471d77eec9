package evidence_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"dssn/controller/evidence"
	"dssn/controller/journal"
)

// root is RFC 6962 §2.1, straight from its text: the slow twin.
func root(leaves [][]byte) [32]byte {
	switch n := len(leaves); n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return sha256.Sum256(append([]byte{0}, leaves[0]...))
	default:
		k := 1
		for k*2 < n {
			k *= 2
		}
		l, r := root(leaves[:k]), root(leaves[k:])
		return sha256.Sum256(append(append([]byte{1}, l[:]...), r[:]...))
	}
}

func open(t *testing.T, path, signer, verifier string) (*evidence.Log, *journal.Journal) {
	t.Helper()
	j, err := journal.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	l, err := evidence.Open(j, signer, verifier)
	if err != nil {
		t.Fatal(err)
	}
	return l, j
}

func TestTheLogIsTheTreeOfItsLeaves(t *testing.T) {
	signer, verifier, err := evidence.NewKey("test.log")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "j.db")
	l, j := open(t, path, signer, verifier)
	var leaves [][]byte
	check := func() {
		t.Helper()
		cp, err := l.Checkpoint()
		if err != nil {
			t.Fatal(err)
		}
		tree, origin, err := evidence.OpenCheckpoint(cp, verifier)
		if err != nil || origin != "test.log" || tree.N != int64(len(leaves)) || [32]byte(tree.Hash) != root(leaves) {
			t.Fatalf("with %d leaves the checkpoint says %d, %x (%v)", len(leaves), tree.N, tree.Hash, err)
		}
	}
	check()
	for n := 0; len(leaves) < 600; n++ { // past two full tiles
		var batch [][]byte
		for i := range n%7 + 1 {
			batch = append(batch, fmt.Appendf(nil, `{"kind":"test","n":%d}`, len(leaves)+i))
		}
		if err := l.Append(int64(len(leaves)), batch); err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, batch...)
		if n%20 == 0 {
			check()
		}
	}
	check()
	checkTiles(t, l, leaves, verifier)
	checkWhole(t, l, leaves, verifier)

	// Every leaf has a receipt, which says neither more nor less than the leaf.
	for _, i := range []int64{0, 1, 255, 256, 511, int64(len(leaves)) - 1} {
		f, err := l.Receipt(i, leaves[i])
		if err != nil {
			t.Fatal(err)
		}
		text, _ := json.Marshal(f)
		v, err := evidence.VerifyReceipt(text, evidence.TrustLog(verifier))
		if err != nil || string(v.Body) != string(leaves[i]) || v.Index != i {
			t.Errorf("receipt %d: %+v, %v", i, v, err)
		}
		for what, change := range map[string]func(*evidence.File){
			"body":       func(f *evidence.File) { f.Body = []byte(`{"kind":"other"}`) },
			"index":      func(f *evidence.File) { f.Index ^= 1 },
			"proof":      func(f *evidence.File) { f.Proof = f.Proof[1:] },
			"checkpoint": func(f *evidence.File) { f.Checkpoint = strings.Replace(f.Checkpoint, "\n6", "\n7", 1) },
			"format":     func(f *evidence.File) { f.Format = "x" },
		} {
			bad := *f
			change(&bad)
			text, _ := json.Marshal(bad)
			if _, err := evidence.VerifyReceipt(text, evidence.TrustLog(verifier)); err == nil {
				t.Errorf("receipt %d with another %s was accepted", i, what)
			}
		}
	}
	_, other, _ := evidence.NewKey("test.log")
	f, _ := l.Receipt(3, leaves[3])
	text, _ := json.Marshal(f)
	if _, err := evidence.VerifyReceipt(text, evidence.TrustLog(other)); err == nil {
		t.Error("a receipt of a log that is not trusted was accepted")
	}

	// Reopened, it goes on; a replay that says otherwise is refused.
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	l, j = open(t, path, signer, verifier)
	defer j.Close()
	if err := l.Append(int64(len(leaves))-2, append(leaves[len(leaves)-2:len(leaves):len(leaves)], []byte("{}"))); err != nil {
		t.Fatal(err)
	}
	leaves = append(leaves, []byte("{}"))
	check()
	if err := l.Append(5, [][]byte{[]byte("{}")}); err == nil {
		t.Error("another leaf in an old one's place was accepted")
	}
	if err := l.Append(int64(len(leaves))+1, [][]byte{[]byte("{}")}); err == nil {
		t.Error("a leaf behind a gap was accepted")
	}
	if err := l.Append(int64(len(leaves)), [][]byte{make([]byte, evidence.MaxLeafBytes+1)}); err == nil {
		t.Error("a leaf that fits no entry bundle was accepted")
	}
	check()
}

// tiles reads a log as a stranger would: by its tiles only.
type tiles struct {
	t *testing.T
	l *evidence.Log
}

func (r tiles) Height() int { return 8 }

func (r tiles) ReadTiles(want []tlog.Tile) (out [][]byte, err error) {
	for _, t := range want {
		p := strings.Replace(t.Path(), "tile/8/", "tile/", 1)
		b, ok, err := r.l.Tile(p)
		if err != nil || !ok {
			return nil, fmt.Errorf("tile %s: %v, %v", p, ok, err)
		}
		out = append(out, b)
	}
	return out, nil
}

func (r tiles) SaveTiles([]tlog.Tile, [][]byte) {}

// checkTiles proves leaves and the tree from tiles alone, and reads the entries.
func checkTiles(t *testing.T, l *evidence.Log, leaves [][]byte, verifier string) {
	t.Helper()
	cp, _ := l.Checkpoint()
	tree, _, err := evidence.OpenCheckpoint(cp, verifier)
	if err != nil {
		t.Fatal(err)
	}
	r := tlog.TileHashReader(tree, tiles{t, l})
	for _, n := range []int64{0, 100, 300, tree.N - 1} {
		p, err := tlog.ProveRecord(tree.N, n, r)
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckRecord(p, tree.N, tree.Hash, n, tlog.RecordHash(leaves[n])); err != nil {
			t.Errorf("leaf %d by its tiles: %v", n, err)
		}
	}
	old, err := tlog.ProveTree(tree.N, 257, r)
	if err != nil {
		t.Fatal(err)
	}
	if err := tlog.CheckTree(old, tree.N, tree.Hash, 257, root(leaves[:257])); err != nil {
		t.Errorf("the log of 257 leaves is no beginning of this one: %v", err)
	}
	var read [][]byte
	for n := 0; n < len(leaves); n += 256 {
		p := fmt.Sprintf("tile/entries/%03d", n/256)
		if w := len(leaves) - n; w < 256 {
			p += fmt.Sprintf(".p/%d", w)
		}
		b, ok, err := l.Tile(p)
		if !ok || err != nil {
			t.Fatalf("%s: %v %v", p, ok, err)
		}
		for len(b) > 0 {
			size := binary.BigEndian.Uint16(b)
			read = append(read, b[2:2+size])
			b = b[2+size:]
		}
	}
	if root(read) != root(leaves) {
		t.Error("the entry bundles hold other leaves")
	}
	for _, p := range []string{"tile/0/003", "tile/entries/002", "tile/0/x001/000", "tile/9/000", "tile/0/002.p/255", "checkpoint", "tile/-1/0", "tile/entries/" + strings.Repeat("x999/", 8) + "000"} {
		if _, ok, err := l.Tile(p); ok || err != nil {
			t.Errorf("%s: there is such a tile (%v)", p, err)
		}
	}
}

func TestALogThatWasRewrittenOrCutIsFound(t *testing.T) {
	signer, verifier, err := evidence.NewKey("test.log")
	if err != nil {
		t.Fatal(err)
	}
	var checkpoints [][]byte
	var logs []*evidence.Log
	for i := range 2 {
		l, j := open(t, filepath.Join(t.TempDir(), "j.db"), signer, verifier)
		defer j.Close()
		for n := range int64(10 - 3*i) {
			if err := l.Append(n, [][]byte{fmt.Appendf(nil, `{"n":%d}`, n+n/5*int64(i))}); err != nil {
				t.Fatal(err)
			}
			if n == 6 {
				cp, _ := l.Checkpoint()
				checkpoints = append(checkpoints, cp)
			}
		}
		logs = append(logs, l)
	}
	serve := func(l *evidence.Log) func(string) ([]byte, error) {
		return func(p string) ([]byte, error) {
			if p == "checkpoint" {
				return l.Checkpoint()
			}
			b, _, err := l.Tile(p)
			return b, err
		}
	}
	if _, err := evidence.VerifyLog(evidence.TrustLog(verifier), checkpoints[0], serve(logs[0]), nil); err != nil {
		t.Errorf("a log that only grew: %v", err)
	}
	if _, err := evidence.VerifyLog(evidence.TrustLog(verifier), checkpoints[1], serve(logs[0]), nil); err == nil {
		t.Error("another past went unnoticed")
	}
	grown, _ := logs[0].Checkpoint()
	if _, err := evidence.VerifyLog(evidence.TrustLog(verifier), grown, serve(logs[1]), nil); err == nil {
		t.Error("a shorter log went unnoticed")
	}
}

// checkWhole reads the log as an auditor would, and as one who is lied to.
func checkWhole(t *testing.T, l *evidence.Log, leaves [][]byte, verifier string) {
	t.Helper()
	honest := func(p string) ([]byte, error) {
		if p == "checkpoint" {
			return l.Checkpoint()
		}
		b, ok, err := l.Tile(p)
		if !ok {
			return nil, fmt.Errorf("there is no %s (%v)", p, err)
		}
		return b, err
	}
	var read [][]byte
	c, err := evidence.VerifyLog(evidence.TrustLog(verifier), nil, honest, func(i int64, b []byte) error {
		if i != int64(len(read)) {
			t.Errorf("leaf %d came after %d", i, len(read))
		}
		read = append(read, append([]byte(nil), b...))
		return nil
	})
	if err != nil || c.Size != int64(len(leaves)) || c.Root != root(leaves) || root(read) != c.Root {
		t.Fatalf("%+v, %v", c, err)
	}
	if _, err := evidence.VerifyLog(evidence.TrustLog(verifier), c.Checkpoint, honest, nil); err != nil {
		t.Errorf("the log is not its own continuation: %v", err)
	}
	for what, change := range map[string]func([]byte) []byte{
		"changed":     func(b []byte) []byte { b[2] ^= 1; return b },
		"cut short":   func(b []byte) []byte { return b[:len(b)-1] },
		"made longer": func(b []byte) []byte { return append(b, 0) },
	} {
		liar := func(p string) ([]byte, error) {
			b, err := honest(p)
			if strings.HasPrefix(p, "tile/entries/001") {
				b = change(append([]byte(nil), b...))
			}
			return b, err
		}
		if _, err := evidence.VerifyLog(evidence.TrustLog(verifier), nil, liar, nil); err == nil {
			t.Errorf("an entry bundle that was %s went unnoticed", what)
		}
	}
}

func FuzzVerifyReceipt(f *testing.F) {
	_, verifier, err := evidence.NewKey("test.log")
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"format":"dssn-receipt/1","body":"e30=","index":0,"proof":[],"checkpoint":"a\n1\n` + base64.StdEncoding.EncodeToString(make([]byte, 32)) + `\n"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := evidence.VerifyReceipt(b, evidence.TrustLog(verifier)); err == nil {
			t.Errorf("accepted without the log's key: %+v", v)
		}
	})
}
