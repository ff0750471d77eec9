package journal_test

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"dssn/controller/journal"
)

func entries(from, n int) (out []journal.Entry) {
	for i := range n {
		out = append(out, journal.Entry{At: time.Unix(int64(from+i), 5).UTC(), Body: fmt.Appendf(nil, `{"n":%d}`, from+i)})
	}
	return out
}

func replay(t *testing.T, s store) (got []journal.Entry, err error) {
	t.Helper()
	j, err := s.open()
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	err = j.Replay(0, func(e journal.Entry) error { got = append(got, e); return nil })
	return got, err
}

func TestWhatIsAppendedIsReplayed(t *testing.T) { eachStore(t, testWhatIsAppendedIsReplayed) }

func testWhatIsAppendedIsReplayed(t *testing.T, make func(*testing.T) store) {
	s := make(t)
	var want []journal.Entry
	for round := range 5 {
		j, err := s.open()
		if err != nil {
			t.Fatal(err)
		}
		for n := range 10 {
			e := entries(round*1000+n*10, n+1)
			if err := j.Append(e); err != nil {
				t.Fatal(err)
			}
			want = append(want, e...)
		}
		if seq, _ := j.Head(); seq != int64(len(want)) {
			t.Errorf("the head is %d after %d entries", seq, len(want))
		}
		if err := j.SetSetting("k", []byte{byte(round)}); err != nil {
			t.Fatal(err)
		}
		if v, err := j.Setting("k"); err != nil || v[0] != byte(round) {
			t.Errorf("setting %v, %v", v, err)
		}
		if v, err := j.Setting("none"); v != nil || err != nil {
			t.Errorf("a setting never made is %v, %v", v, err)
		}
		if _, err := s.open(); !errors.Is(err, journal.ErrInUse) {
			t.Errorf("a second opening gave %v", err)
		}
		j.Close()
	}
	got, err := replay(t, s)
	if err != nil || len(got) != len(want) {
		t.Fatalf("replayed %d of %d entries: %v", len(got), len(want), err)
	}
	for i, e := range got {
		if e.Sequence != int64(i+1) || !e.At.Equal(want[i].At) || string(e.Body) != string(want[i].Body) {
			t.Errorf("entry %d is %+v, want %+v", i, e, want[i])
		}
	}
}

func TestEveryChangeOfTheFileIsFound(t *testing.T) { eachStore(t, testEveryChangeOfTheFileIsFound) }

func testEveryChangeOfTheFileIsFound(t *testing.T, make func(*testing.T) store) {
	for what, change := range map[string]struct {
		sql string
		seq int64
	}{
		"a changed body":   {`UPDATE journal SET body = '{"n":7}' WHERE seq = 4`, 4},
		"a changed time":   {`UPDATE journal SET at = at + 1 WHERE seq = 6`, 6},
		"a missing entry":  {`DELETE FROM journal WHERE seq = 5`, 5},
		"a changed hash":   {`UPDATE journal SET hash = body WHERE seq = 3`, 3},
		"exchanged bodies": {`UPDATE journal SET body = CASE seq WHEN 7 THEN (SELECT body FROM journal WHERE seq = 8) ELSE (SELECT body FROM journal WHERE seq = 7) END WHERE seq IN (7, 8)`, 7},
	} {
		t.Run(what, func(t *testing.T) {
			s := make(t)
			j, err := s.open()
			if err != nil {
				t.Fatal(err)
			}
			if err := j.Append(entries(0, 10)); err != nil {
				t.Fatal(err)
			}
			j.Close()
			s.exec(t, change.sql)
			_, err = replay(t, s)
			var c *journal.CorruptError
			if !errors.As(err, &c) || c.Sequence != change.seq {
				t.Errorf("got %v, want a corrupt entry %d", err, change.seq)
			}
		})
	}
}

func TestANewerSchemaIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j.db")
	j, err := journal.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	j.Close()
	db, _ := sql.Open("sqlite", path)
	if _, err := db.Exec("PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if _, err := journal.Open(path); err == nil {
		t.Error("opened")
	}
}

func TestAnAppendThatFailsLeavesNothing(t *testing.T) {
	eachStore(t, testAnAppendThatFailsLeavesNothing)
}

func testAnAppendThatFailsLeavesNothing(t *testing.T, make func(*testing.T) store) {
	s := make(t)
	j, err := s.open()
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if err := j.AppendLog(0, [][]byte{[]byte("a")}, 0, [][32]byte{{1}}); err != nil {
		t.Fatal(err)
	}
	if err := j.AppendLog(1, [][]byte{[]byte("b")}, 0, [][32]byte{{2}}); err == nil {
		t.Fatal("two hashes in one place were accepted")
	}
	if n, err := j.LogSize(); n != 1 || err != nil {
		t.Errorf("%d leaves, %v", n, err)
	}
}

// releasedSchemas are the files that earlier versions wrote: for each, its
// statements. They are copies on purpose; migrations must bring them all forward.
var releasedSchemas = []string{`
CREATE TABLE journal (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, body BLOB NOT NULL, hash BLOB NOT NULL);
CREATE TABLE log_leaf (idx INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE log_hash (idx INTEGER PRIMARY KEY, hash BLOB NOT NULL);
CREATE TABLE setting (name TEXT PRIMARY KEY, value BLOB NOT NULL);
INSERT INTO setting VALUES ('k', x'07');
PRAGMA user_version = 1;`}

func TestFilesOfEveryReleasedSchemaCanBeOpened(t *testing.T) {
	for i, schema := range releasedSchemas {
		path := filepath.Join(t.TempDir(), "j.db")
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(schema); err != nil {
			t.Fatal(err)
		}
		db.Close()
		j, err := journal.Open(path)
		if err != nil {
			t.Fatalf("schema %d: %v", i+1, err)
		}
		if v, err := j.Setting("k"); err != nil || len(v) != 1 || v[0] != 7 {
			t.Errorf("schema %d: what it held is %v, %v", i+1, v, err)
		}
		if err := errors.Join(j.Append(entries(0, 3)), j.SaveSnapshot(3, []byte("s"))); err != nil {
			t.Errorf("schema %d: %v", i+1, err)
		}
		j.Close()
	}
}

func TestASnapshotThatIsDamagedIsPassedOver(t *testing.T) {
	eachStore(t, testASnapshotThatIsDamagedIsPassedOver)
}

func testASnapshotThatIsDamagedIsPassedOver(t *testing.T, make func(*testing.T) store) {
	s := make(t)
	j, err := s.open()
	if err != nil {
		t.Fatal(err)
	}
	if seq, state, err := j.Snapshot(); seq != 0 || state != nil || err != nil {
		t.Errorf("an empty journal has the snapshot %d, %v", seq, err)
	}
	if err := j.Append(entries(0, 10)); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int64{3, 6, 9, 99} { // 99: of a journal that was since restored
		if err := j.SaveSnapshot(n, fmt.Appendf(nil, "state %d", n)); err != nil {
			t.Fatal(err)
		}
	}
	if seq, state, err := j.Snapshot(); seq != 9 || string(state) != "state 9" || err != nil {
		t.Errorf("got %d %q %v, want 9", seq, state, err)
	}
	j.Close()
	s.exec(t, "UPDATE snapshot SET state = 'stat' WHERE seq = 9")
	if j, err = s.open(); err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if seq, _, err := j.Snapshot(); seq != 0 || err != nil {
		t.Errorf("got %d, %v, want none: 6 was no longer among the newest two", seq, err)
	}
	n := 0
	if err := j.Replay(4, func(e journal.Entry) error { n++; return nil }); err != nil || n != 6 {
		t.Errorf("%d entries behind the fourth, %v", n, err)
	}
}

func TestABackupIsAJournalAndIsNotOverwritten(t *testing.T) {
	j, err := fileStore(t).open()
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if err := j.Append(entries(0, 10)); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	if err := j.Backup(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	if got, err := replay(t, store{open: func() (*journal.Journal, error) { return journal.Open(copied) }}); err != nil || len(got) != 10 {
		t.Errorf("the backup has %d entries, %v", len(got), err)
	}
	if err := j.Backup(t.Context(), copied); err == nil {
		t.Error("a backup was overwritten")
	}
}
