// Package journal remembers: one SQLite file, or one PostgreSQL database, holds
// the controller's inputs, each chained to the one before by its hash, and the
// leaves and hashes of the evidence log. What Append has returned for is on the
// disk (WAL, synchronous FULL; synchronous_commit on), whatever kills the process
// next.
//
// It does not know what entries mean. A Journal may be used from any goroutine.
package journal

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	_ "modernc.org/sqlite" // the driver named "sqlite"
)

// migrations bring a file forward, one step each; the file's user_version says
// how many it has had. Steps are added and never changed: every file that was
// ever written can be opened (held by a test for each).
var migrations = []string{`
CREATE TABLE journal (
	seq   INTEGER PRIMARY KEY,      -- 1, 2, 3 …
	at    INTEGER NOT NULL,         -- Unix nanoseconds, as given to the core
	body  BLOB NOT NULL,            -- the input, JSON
	hash  BLOB NOT NULL             -- SHA-256(hash before, seq, at, body)
);
CREATE TABLE log_leaf (idx INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE log_hash (idx INTEGER PRIMARY KEY, hash BLOB NOT NULL);
CREATE TABLE setting (name TEXT PRIMARY KEY, value BLOB NOT NULL);
`, `
CREATE TABLE snapshot (
	seq   INTEGER PRIMARY KEY,      -- the state after this entry
	hash  BLOB NOT NULL,            -- SHA-256 of state
	state BLOB NOT NULL
);
`}

// Entry is one input and the time at which the core took it.
type Entry struct {
	Sequence int64
	At       time.Time
	Body     []byte
}

// Journal is an open file or database. Nobody else can open it meanwhile.
type Journal struct {
	db    *sql.DB
	lock  *os.File // nil where lease is not
	lease *lease   // of a PostgreSQL database; nil for a file

	mu   sync.Mutex // guards seq and head, and makes appends one after the other
	seq  int64
	head [32]byte
}

// ErrInUse is returned by Open while another process has the file.
var ErrInUse = errors.New("another controller is using it")

// Open opens or makes the journal at path.
func Open(path string) (*Journal, error) {
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open journal %s: %w", path, err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("open journal %s: %w: stop it, or give this one its own --state", path, ErrInUse)
	}
	j := &Journal{lock: lock}
	if err := j.open(path); err != nil {
		j.Close()
		return nil, fmt.Errorf("open journal %s: %w", path, err)
	}
	return j, nil
}

func (j *Journal) open(path string) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	q := url.Values{"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)"}, "_txlock": {"immediate"}}
	if j.db, err = sql.Open("sqlite", (&url.URL{Scheme: "file", Path: abs, RawQuery: q.Encode()}).String()); err != nil {
		return err
	}
	j.db.SetMaxOpenConns(4)
	var version int
	if err := j.db.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if err := os.Chmod(abs, 0o600); err != nil { // it holds secrets
		return err
	}
	if version > len(migrations) {
		return fmt.Errorf("it was written by a newer version (schema %d, this program knows %d): update the program", version, len(migrations))
	}
	for ; version < len(migrations); version++ {
		if err := j.tx(func(tx *sql.Tx) error {
			_, err := tx.Exec(migrations[version] + fmt.Sprintf("PRAGMA user_version = %d;", version+1))
			return err
		}); err != nil {
			return fmt.Errorf("bring its schema from %d to %d: %w", version, version+1, err)
		}
	}
	return j.readHead()
}

// readHead reads where the chain ends.
func (j *Journal) readHead() error {
	var hash []byte
	err := j.db.QueryRow("SELECT seq, hash FROM journal ORDER BY seq DESC LIMIT 1").Scan(&j.seq, &hash)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	copy(j.head[:], hash)
	return nil
}

// Close closes the file.
func (j *Journal) Close() error {
	var err error
	if j.lease != nil {
		j.lease.end(j.db)
	}
	if j.db != nil {
		err = j.db.Close()
	}
	if j.lock != nil {
		err = errors.Join(err, j.lock.Close())
	}
	return err
}

func (j *Journal) tx(do func(*sql.Tx) error) error {
	ctx := context.Background()
	if j.lease != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, writeTimeout)
		defer cancel()
	}
	tx, err := j.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if j.lease != nil {
		if err := j.lease.check(ctx, tx); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	if err := do(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// chain is the hash of an entry behind prev.
func chain(prev [32]byte, e Entry) [32]byte {
	h := sha256.New()
	h.Write(prev[:])
	var n [16]byte
	binary.BigEndian.PutUint64(n[:8], uint64(e.Sequence))
	binary.BigEndian.PutUint64(n[8:], uint64(e.At.UnixNano()))
	h.Write(n[:])
	h.Write(e.Body)
	return [32]byte(h.Sum(nil))
}

// Append writes entries in one transaction and sets their Sequence. When it
// returns nil they are durable; after an error none is written.
func (j *Journal) Append(entries []Entry) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	seq, head := j.seq, j.head
	err := j.tx(func(tx *sql.Tx) error {
		st, err := tx.Prepare(j.sql("INSERT INTO journal (seq, at, body, hash) VALUES (?, ?, ?, ?)"))
		if err != nil {
			return err
		}
		defer st.Close()
		for i := range entries {
			seq++
			entries[i].Sequence = seq
			head = chain(head, entries[i])
			if _, err := st.Exec(seq, entries[i].At.UnixNano(), entries[i].Body, head[:]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("append %d entries to the journal: %w", len(entries), err)
	}
	j.seq, j.head = seq, head
	return nil
}

// Head returns the sequence number and chain hash of the last entry.
func (j *Journal) Head() (int64, [32]byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.seq, j.head
}

// CorruptError says where the chain breaks.
type CorruptError struct {
	Sequence int64
	What     string
}

// Error names the entry and what is wrong with it.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("journal entry %d %s: restore the last backup, and keep this file as evidence", e.Sequence, e.What)
}

// Replay gives every entry behind number after to f in order, checking the
// chain from there; 0 checks all of it. The error is f's, the database's or a
// *CorruptError.
func (j *Journal) Replay(after int64, f func(Entry) error) error {
	var prev [32]byte
	if after > 0 {
		var hash []byte
		err := j.db.QueryRow(j.sql("SELECT hash FROM journal WHERE seq = ?"), after).Scan(&hash)
		if errors.Is(err, sql.ErrNoRows) {
			return &CorruptError{after, "is missing"}
		}
		if err != nil {
			return fmt.Errorf("read the journal: %w", err)
		}
		copy(prev[:], hash)
	}
	rows, err := j.db.Query(j.sql("SELECT seq, at, body, hash FROM journal WHERE seq > ? ORDER BY seq"), after)
	if err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	defer rows.Close()
	want := after + 1
	for ; rows.Next(); want++ {
		var e Entry
		var at int64
		var hash []byte
		if err := rows.Scan(&e.Sequence, &at, &e.Body, &hash); err != nil {
			return fmt.Errorf("read the journal: %w", err)
		}
		e.At = time.Unix(0, at).UTC()
		if e.Sequence != want {
			return &CorruptError{want, "is missing"}
		}
		prev = chain(prev, e)
		if string(hash) != string(prev[:]) {
			return &CorruptError{e.Sequence, "does not fit its hash"}
		}
		if err := f(e); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Setting returns a value by name; nil where there is none.
func (j *Journal) Setting(name string) ([]byte, error) {
	var v []byte
	err := j.db.QueryRow(j.sql("SELECT value FROM setting WHERE name = ?"), name).Scan(&v)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return v, err
}

// SetSetting writes a value durably.
func (j *Journal) SetSetting(name string, value []byte) error {
	return j.tx(func(tx *sql.Tx) error {
		_, err := tx.Exec(j.sql("INSERT INTO setting (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"), name, value)
		return err
	})
}
