package journal

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// keepSnapshots is how many of the newest snapshots stay.
const keepSnapshots = 2

// SaveSnapshot keeps the state after entry seq, so that a recovery begins there.
func (j *Journal) SaveSnapshot(seq int64, state []byte) error {
	sum := sha256.Sum256(state)
	err := j.tx(func(tx *sql.Tx) error {
		if _, err := tx.Exec(j.sql("INSERT INTO snapshot (seq, hash, state) VALUES (?, ?, ?) ON CONFLICT (seq) DO UPDATE SET hash = excluded.hash, state = excluded.state"), seq, sum[:], state); err != nil {
			return err
		}
		_, err := tx.Exec(j.sql("DELETE FROM snapshot WHERE seq NOT IN (SELECT seq FROM snapshot ORDER BY seq DESC LIMIT ?)"), keepSnapshots)
		return err
	})
	if err != nil {
		return fmt.Errorf("save the snapshot of entry %d: %w", seq, err)
	}
	return nil
}

// Snapshot returns the newest snapshot that is whole; one that does not fit its
// hash is passed over. seq is 0 and state nil where there is none.
func (j *Journal) Snapshot() (seq int64, state []byte, err error) {
	rows, err := j.db.Query("SELECT seq, hash, state FROM snapshot ORDER BY seq DESC")
	if err != nil {
		return 0, nil, fmt.Errorf("read the snapshots: %w", err)
	}
	defer rows.Close()
	head, _ := j.Head()
	for rows.Next() {
		var n int64
		var hash, b []byte
		if err := rows.Scan(&n, &hash, &b); err != nil {
			return 0, nil, fmt.Errorf("read the snapshots: %w", err)
		}
		if sum := sha256.Sum256(b); string(sum[:]) == string(hash) && n <= head {
			return n, b, nil
		}
	}
	return 0, nil, rows.Err()
}

// Backup writes a copy of the whole file, as of one moment, while the journal
// goes on. The copy is opened like any journal; path must not exist.
func (j *Journal) Backup(ctx context.Context, path string) error {
	if j.lease != nil {
		return fmt.Errorf("back up to %s: the journal is in PostgreSQL: use pg_dump, which copies it while the controller goes on", path)
	}
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("back up to %s: there is a file of that name: choose another", path)
	}
	part := path + ".part"
	if err := os.Remove(part); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("back up to %s: %w", path, err)
	}
	if _, err := j.db.ExecContext(ctx, "VACUUM INTO ?", part); err != nil {
		os.Remove(part)
		return fmt.Errorf("back up to %s: %w", path, err)
	}
	f, err := os.OpenFile(part, os.O_RDWR, 0)
	if err == nil {
		err = errors.Join(f.Chmod(0o600), f.Sync(), f.Close())
	}
	if err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		os.Remove(part)
		return fmt.Errorf("back up to %s: %w", path, err)
	}
	if d, err := os.Open(filepath.Dir(path)); err == nil {
		err = errors.Join(d.Sync(), d.Close())
		if err != nil {
			return fmt.Errorf("back up to %s: %w", path, err)
		}
	}
	return nil
}
