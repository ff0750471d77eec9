package controller_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"dssn/controller"
	"dssn/controller/northbound"
)

// A backup taken while requests are answered restores to a controller that knows
// all that was acknowledged before it began, and has the same state hash as the
// journal's replay.
func TestABackupOfARunningControllerRestores(t *testing.T) {
	ctx := context.Background()
	r := start(t, t.TempDir(), "[::1]:0")
	add := func(name string) {
		if _, err := r.op.AddInstitution(ctx, northbound.InstitutionRequest{Name: name}); err != nil {
			t.Error(err)
		}
	}
	for i := range 20 {
		add(fmt.Sprint("before-", i))
	}
	stop := make(chan struct{})
	var busy sync.WaitGroup
	busy.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				add(fmt.Sprint("meanwhile-", i))
			}
		}
	})
	backup := filepath.Join(t.TempDir(), "backup")
	err := controller.Backup(ctx, r.state, backup)
	close(stop)
	busy.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if err := controller.Backup(ctx, r.state, backup); err == nil || !strings.Contains(err.Error(), "there already") {
		t.Errorf("a second backup to the same directory: %v", err)
	}
	if _, err := controller.Restore(ctx, backup, r.state); err == nil || !strings.Contains(err.Error(), "holds a controller's state") {
		t.Errorf("restored over a state: %v", err)
	}
	state := filepath.Join(t.TempDir(), "state")
	n, err := controller.Restore(ctx, backup, state)
	if err != nil || n < 20 {
		t.Fatalf("%d entries (%v)", n, err)
	}
	for _, name := range []string{"controller.db", "ca.key"} {
		if i, err := os.Stat(filepath.Join(state, name)); err != nil || i.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v (%v)", name, i, err)
		}
	}
	again := start(t, state, "[::1]:0")
	is, err := again.op.Institutions(ctx)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, i := range is {
		known[i.Name] = true
	}
	for i := range 20 {
		if name := fmt.Sprint("before-", i); !known[name] {
			t.Errorf("%s was acknowledged before the backup and is not in it", name)
		}
	}
}

// A backup whose journal was changed is refused with the entry's number, and
// nothing is left behind that a controller would start from.
func TestAChangedBackupIsNotRestored(t *testing.T) {
	ctx := context.Background()
	r := start(t, t.TempDir(), "[::1]:0")
	for i := range 5 {
		if _, err := r.op.AddInstitution(ctx, northbound.InstitutionRequest{Name: fmt.Sprint("i", i)}); err != nil {
			t.Fatal(err)
		}
	}
	r.stop()
	backup, state := filepath.Join(t.TempDir(), "backup"), filepath.Join(t.TempDir(), "state")
	if err := controller.Backup(ctx, r.state, backup); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: filepath.Join(backup, "controller.db")}).String())
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(`UPDATE journal SET body = replace(CAST(body AS TEXT), 'i3', 'j3') WHERE seq = (SELECT max(seq) - 1 FROM journal)`)
	db.Close()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := controller.Restore(ctx, backup, state); err == nil || !strings.Contains(err.Error(), "does not fit its hash: restore the last backup") {
		t.Errorf("restored: %v", err)
	}
	left, err := os.ReadDir(state)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
	if _, err := controller.Restore(ctx, filepath.Join(backup, "none"), state); err == nil || !strings.Contains(err.Error(), "controller backup` made") {
		t.Errorf("restored from nothing: %v", err)
	}
	if err := controller.Backup(ctx, filepath.Join(backup, "none"), filepath.Join(backup, "copy")); err == nil {
		t.Error("nothing was backed up")
	}
	if _, err := os.Stat(filepath.Join(backup, "copy")); err == nil {
		t.Error("a backup that did not work was left behind")
	}
}
