package journal_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"dssn/controller/journal"
)

func TestTheDeposedOfTwoThatBelieveTheyLeadCannotWrite(t *testing.T) {
	s := newCluster(t).store(t)
	old, err := s.open()
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := old.Append(entries(0, 3)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.open(); !errors.Is(err, journal.ErrInUse) {
		t.Fatalf("beside a leader whose lease lives an opening gave %v", err)
	}
	s.exec(t, "UPDATE leader SET until = '-infinity'") // as if it had slept past its lease
	next, err := s.open()
	for errors.Is(err, journal.ErrInUse) { // it renewed between the two statements
		s.exec(t, "UPDATE leader SET until = '-infinity'")
		next, err = s.open()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	for what, write := range map[string]func() error{
		"an append":           func() error { return old.Append(entries(10, 2)) },
		"a leaf":              func() error { return old.AppendLog(0, [][]byte{{1}}, 0, nil) },
		"a setting":           func() error { return old.SetSetting("k", []byte{1}) },
		"a snapshot":          func() error { return old.SaveSnapshot(3, []byte("s")) },
		"an append once more": func() error { return old.Append(entries(20, 1)) },
	} {
		if err := write(); !errors.Is(err, journal.ErrDeposed) {
			t.Errorf("%s of the deposed gave %v", what, err)
		}
	}
	<-old.Lost()
	if err := next.Append(entries(3, 2)); err != nil {
		t.Fatal(err)
	}
	var bodies []string
	if err := next.Replay(0, func(e journal.Entry) error { bodies = append(bodies, string(e.Body)); return nil }); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(bodies, " "), `{"n":0} {"n":1} {"n":2} {"n":3} {"n":4}`; got != want {
		t.Errorf("the journal holds %s, want %s", got, want)
	}
	if n, err := next.LogSize(); n != 0 || err != nil {
		t.Errorf("%d leaves, %v", n, err)
	}
	old.Close() // must not give the other's lease away
	if _, err := s.open(); !errors.Is(err, journal.ErrInUse) {
		t.Errorf("after the deposed had closed an opening gave %v", err)
	}
}

func TestADatabaseThatVanishesAndComesBack(t *testing.T) {
	c := newCluster(t)
	s := c.store(t)
	j, err := s.open()
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if err := j.Append(entries(0, 3)); err != nil {
		t.Fatal(err)
	}
	c.stop(t)
	if err := j.Append(entries(3, 1)); err == nil {
		t.Error("an append without a database succeeded")
	}
	if _, err := s.open(); err == nil || errors.Is(err, journal.ErrInUse) || !strings.Contains(err.Error(), "open the journal in PostgreSQL") {
		t.Errorf("an opening without a database gave %v", err)
	}
	c.start(t)
	for range 5 { // connections of before the crash may each fail once
		if err = j.Append(entries(3, 1)); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := j.Replay(0, func(journal.Entry) error { n++; return nil }); err != nil || n != 4 {
		t.Errorf("%d entries, %v; want 4", n, err)
	}
}

func TestALeaderThatDiedIsFollowedWhenItsLeaseEnds(t *testing.T) {
	s := newCluster(t).store(t)
	j, err := s.open()
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Append(entries(0, 1)); err != nil {
		t.Fatal(err)
	}
	j.Abandon()
	for {
		next, err := s.open()
		if err == nil {
			defer next.Close()
			if n, _ := next.Head(); n != 1 {
				t.Errorf("the next leader begins behind entry %d, want 1", n)
			}
			return
		}
		if !errors.Is(err, journal.ErrInUse) {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
