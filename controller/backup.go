package controller

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"dssn/controller/journal"
)

// stateFiles are what a controller cannot be made again from but its database.
// Sockets, locks and markers are of one run.
var stateFiles = []string{"ca.key", "ca.pem"}

const databaseName = "controller.db"

// Backup copies a controller's state to a directory that it makes, as of one
// moment, whether the controller runs or not. The copy holds all secrets of the
// network: it is 0700, its files 0600. After an error the directory is gone.
func Backup(ctx context.Context, state, to string) (err error) {
	if err := os.Mkdir(to, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("back up to %s: it is there already: name a directory that is not", to)
		}
		return fmt.Errorf("back up to %s: %w", to, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(to))
		}
	}()
	for _, name := range stateFiles {
		b, err := os.ReadFile(filepath.Join(state, name))
		if err != nil {
			return fmt.Errorf("back up %s: %w: give the controller's state directory with --state", state, err)
		}
		if err := writeFile(filepath.Join(to, name), b, 0o600); err != nil {
			return fmt.Errorf("back up to %s: %w", to, err)
		}
	}
	return journal.Copy(ctx, filepath.Join(state, databaseName), filepath.Join(to, databaseName))
}

// Restore makes a state directory from a backup and returns how many journal
// entries it has. Every entry is checked against the chain before anything is
// made; a directory that has a state is left alone. What happened since the
// backup is not in it: whoever restores says so to the institutions.
func Restore(ctx context.Context, from, state string) (entries int64, err error) {
	database := filepath.Join(state, databaseName)
	if _, err := os.Stat(database); err == nil {
		return 0, fmt.Errorf("restore to %s: it holds a controller's state: name another directory with --state, or move that one away", state)
	}
	if _, err := os.Stat(filepath.Join(from, databaseName)); err != nil {
		return 0, fmt.Errorf("restore from %s: %w: name a directory that `dssn controller backup` made", from, err)
	}
	for _, name := range stateFiles {
		old, err := os.ReadFile(filepath.Join(state, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		was, err2 := os.ReadFile(filepath.Join(from, name))
		if err := errors.Join(err, err2); err != nil {
			return 0, fmt.Errorf("restore from %s: %w", from, err)
		}
		if string(old) != string(was) {
			return 0, fmt.Errorf("restore to %s: its %s is of another network: name another directory with --state", state, name)
		}
	}
	if err := os.MkdirAll(state, 0o700); err != nil {
		return 0, fmt.Errorf("restore to %s: %w", state, err)
	}
	part := filepath.Join(state, "restoring.db")
	remove := func() error {
		var err error
		for _, end := range []string{"", "-wal", "-shm", ".lock"} {
			if e := os.Remove(part + end); e != nil && !errors.Is(e, fs.ErrNotExist) {
				err = errors.Join(err, e)
			}
		}
		return err
	}
	if err := remove(); err != nil { // of a restore that was killed
		return 0, fmt.Errorf("restore to %s: %w", state, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, remove())
		}
	}()
	if err := journal.Copy(ctx, filepath.Join(from, databaseName), part); err != nil {
		return 0, fmt.Errorf("restore from %s: %w", from, err)
	}
	if entries, err = journal.Check(part); err != nil {
		return 0, fmt.Errorf("restore from %s: %w", from, err)
	}
	for _, name := range stateFiles {
		b, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return 0, fmt.Errorf("restore from %s: %w", from, err)
		}
		if err := writeFile(filepath.Join(state, name), b, 0o600); err != nil {
			return 0, fmt.Errorf("restore to %s: %w", state, err)
		}
	}
	if err := os.Rename(part, database); err != nil { // last: before it there is no state
		return 0, fmt.Errorf("restore to %s: %w", state, err)
	}
	d, err := os.Open(state)
	if err != nil {
		return 0, fmt.Errorf("restore to %s: %w", state, err)
	}
	return entries, errors.Join(d.Sync(), d.Close())
}
