package controller_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"dssn/controller/northbound"
)

// stranger reads an evidence log as anybody could who has its address and
// verifier key: by HTTP, the C2SP tlog-tiles paths, and golang.org/x/mod/sumdb.
// It uses nothing of ours and has no certificate.
type stranger struct {
	http *http.Client
	url  string
}

func (s stranger) get(path string) ([]byte, error) {
	resp, err := s.http.Get(s.url + path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", path, resp.Status)
	}
	return io.ReadAll(resp.Body)
}

// Height implements tlog.TileReader.
func (s stranger) Height() int { return 8 }

// ReadTiles implements tlog.TileReader. C2SP paths leave out the height.
func (s stranger) ReadTiles(want []tlog.Tile) (out [][]byte, err error) {
	for _, t := range want {
		b, err := s.get("/evidence/" + strings.Replace(t.Path(), "tile/8/", "tile/", 1))
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

// SaveTiles implements tlog.TileReader.
func (s stranger) SaveTiles([]tlog.Tile, [][]byte) {}

// leaves reads the entry bundles of a log of n leaves, fewer than 256.
func (s stranger) leaves(n int64) (out [][]byte, err error) {
	b, err := s.get(fmt.Sprintf("/evidence/tile/entries/000.p/%d", n))
	if err != nil {
		return nil, err
	}
	for len(b) >= 2 {
		size := int(binary.BigEndian.Uint16(b))
		if len(b) < 2+size {
			return nil, fmt.Errorf("entry %d is cut short", len(out))
		}
		out, b = append(out, b[2:2+size]), b[2+size:]
	}
	return out, nil
}

func TestAStrangerCanCheckTheEvidenceLog(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	w := start(t, t.TempDir(), "[::1]:0")
	must(w.op.AddInstitution(ctx, northbound.InstitutionRequest{Name: "north"}))(t)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // the note is signed
	defer client.CloseIdleConnections()
	s := stranger{client, w.url}
	key := must(w.op.Status(ctx))(t).LogKey
	verifier := must(note.NewVerifier(key))(t)

	checkpoint := func() tlog.Tree {
		t.Helper()
		n := must(note.Open(must(s.get("/evidence/checkpoint"))(t), note.VerifierList(verifier)))(t)
		lines := strings.Split(n.Text, "\n")
		if len(lines) < 3 || lines[0] != verifier.Name() {
			t.Fatalf("the checkpoint says %q, want the origin %q, a size and a root", n.Text, verifier.Name())
		}
		var tree tlog.Tree
		if _, err := fmt.Sscan(lines[1], &tree.N); err != nil {
			t.Fatal(err)
		}
		tree.Hash = must(tlog.ParseHash(lines[2]))(t)
		return tree
	}
	old := checkpoint()
	for _, name := range []string{"south", "east", "west"} {
		must(w.op.AddInstitution(ctx, northbound.InstitutionRequest{Name: name}))(t)
	}
	tree := checkpoint()
	if old.N == 0 || tree.N <= old.N {
		t.Fatalf("the log had %d leaves and then %d", old.N, tree.N)
	}

	// Every tile that is read is checked against the root by the reader.
	r := tlog.TileHashReader(tree, s)
	leaves := must(s.leaves(tree.N))(t)
	if int64(len(leaves)) != tree.N {
		t.Fatalf("the bundle has %d leaves of %d", len(leaves), tree.N)
	}
	for i, leaf := range leaves {
		proof := must(tlog.ProveRecord(tree.N, int64(i), r))(t)
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, int64(i), tlog.RecordHash(leaf)); err != nil {
			t.Errorf("leaf %d, %s: %v", i, leaf, err)
		}
	}
	proof := must(tlog.ProveTree(tree.N, old.N, r))(t)
	if err := tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash); err != nil {
		t.Errorf("the log of %d leaves is no beginning of the one of %d: %v", old.N, tree.N, err)
	}
}
