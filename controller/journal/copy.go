package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
)

// Copy writes a copy of the journal at from, as of one moment, to the file to,
// while whoever has the journal open goes on writing: SQLite's log lets readers
// see one moment beside a writer. to must not exist; what it holds in the end is
// whole and on the disk, or it is not there.
func Copy(ctx context.Context, from, to string) error {
	abs, err := filepath.Abs(from)
	if err != nil {
		return fmt.Errorf("back up %s: %w", from, err)
	}
	if _, err := os.Stat(abs); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("back up %s: there is no such file: give the controller's state directory with --state", from)
	}
	q := url.Values{"_pragma": {"busy_timeout(10000)"}, "mode": {"rw"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: abs, RawQuery: q.Encode()}).String())
	if err != nil {
		return fmt.Errorf("back up %s: %w", from, err)
	}
	j := &Journal{db: db}
	return errors.Join(j.Backup(ctx, to), db.Close())
}

// Check reads the journal at path from its first entry to its last and returns
// how many there are. It brings the file's schema forward; the error is as of
// Open, or a *CorruptError.
func Check(path string) (entries int64, err error) {
	j, err := Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, j.Close(), os.Remove(path+".lock")) }()
	err = j.Replay(0, func(Entry) error { entries++; return nil })
	return entries, err
}
