package transfer

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dssn"
	"dssn/content"
)

func publication(t *testing.T) Publication {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), pattern(1, 100_000), 0o644); err != nil {
		t.Fatal(err)
	}
	return Publication{Dir: dir, Name: "n", Grade: dssn.GradeOpen, Registrant: netip.MustParsePrefix("3fff:d55:12:7::/64"),
		Key: ed25519.NewKeyFromSeed(make([]byte, 32)), Now: time.Unix(1.8e9, 5),
		Register: func(context.Context, *content.Record) error { return nil }}
}

func TestPublishedDatasetsAreOfferedAgainAfterARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "datasets")
	s, err := OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	o, err := s.Publish(context.Background(), publication(t))
	if err != nil {
		t.Fatal(err)
	}
	served := []Served{{Source: netip.MustParseAddr("3fff::1"), ServedBytes: 7}}
	served[0].Transfer, served[0].ContentBytes = newTransferID(), 5
	if err := s.SaveDeliveries(served); err != nil {
		t.Fatal(err)
	}
	// Another process died while publishing.
	if err := os.Mkdir(filepath.Join(dir, draftPrefix+"1"), 0o700); err != nil {
		t.Fatal(err)
	}
	s, err = OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	list, err := s.Offerings()
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	if diff := cmp.Diff(o, list[0], cmp.Comparer(func(a, b content.Record) bool { return a.ID == b.ID && a.Verify() == nil && b.Verify() == nil })); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Lstat(filepath.Join(dir, draftPrefix+"1")); err == nil {
		t.Error("the unfinished publication is still there")
	}
	h := serve(t, list[0])
	if _, err := Get(context.Background(), h.options(t, h.local(t), t.TempDir())); err != nil {
		t.Error(err)
	}
	again, err := s.LoadDeliveries()
	if err != nil || len(again) != 1 || again[0] != served[0] {
		t.Errorf("%+v, %v", again, err)
	}
	if err := s.Remove(o.Record.ID); err != nil {
		t.Error(err)
	}
	if list, err := s.Offerings(); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}

func TestRefusedPublicationLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s, err := OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	refused := errors.New("the name n belongs to another registrant: choose another")
	p := publication(t)
	p.Register = func(context.Context, *content.Record) error { return refused }
	if _, err := s.Publish(context.Background(), p); err != refused {
		t.Error(err)
	}
	p = publication(t)
	p.Dir = "relative"
	if _, err := s.Publish(context.Background(), p); err == nil {
		t.Error("a relative path was accepted")
	}
	p = publication(t)
	if err := os.Symlink("f", filepath.Join(p.Dir, "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Publish(context.Background(), p); err == nil {
		t.Error("a link was published")
	}
	if names, _ := os.ReadDir(dir); len(names) != 0 {
		t.Errorf("left over: %v", names)
	}
}

func TestTakenIdentifierRaisesTheSalt(t *testing.T) {
	s, err := OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p := publication(t)
	var seen []uint32
	p.Register = func(_ context.Context, r *content.Record) error {
		if err := r.Verify(); err != nil {
			t.Error(err)
		}
		if seen = append(seen, r.Salt); len(seen) < 3 {
			return ErrTaken
		}
		return nil
	}
	o, err := s.Publish(context.Background(), p)
	if err != nil || o.Record.Salt != 2 || len(seen) != 3 {
		t.Errorf("salts %v: %v, %v", seen, o.Record.Salt, err)
	}
	p.Register = func(context.Context, *content.Record) error { return ErrTaken }
	if _, err := s.Publish(context.Background(), p); !errors.Is(err, ErrTaken) {
		t.Errorf("when all are taken: %v", err)
	}
}
