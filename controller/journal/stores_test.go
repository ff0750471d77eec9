package journal_test

import (
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"dssn/controller/journal"
	"dssn/internal/need"
)

// store is one place of a journal: how it is opened, and how its tables are
// changed behind the journal's back.
type store struct {
	open func() (*journal.Journal, error)
	db   func(t *testing.T) *sql.DB
}

func (s store) exec(t *testing.T, statement string) {
	t.Helper()
	db := s.db(t)
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
}

// eachStore runs a test over a file and over PostgreSQL; make gives an empty store.
func eachStore(t *testing.T, test func(t *testing.T, make func(*testing.T) store)) {
	t.Run("sqlite", func(t *testing.T) { test(t, fileStore) })
	t.Run("postgres", func(t *testing.T) { c := newCluster(t); test(t, c.store) })
}

func fileStore(t *testing.T) store {
	path := filepath.Join(t.TempDir(), "j.db")
	return store{
		open: func() (*journal.Journal, error) { return journal.Open(path) },
		db:   func(t *testing.T) *sql.DB { return openDB(t, "sqlite", path) },
	}
}

func openDB(t *testing.T, driver, source string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// cluster is a real PostgreSQL of the test's own, on a Unix socket only.
type cluster struct {
	dir       string
	cred      *syscall.Credential
	databases int
}

const postgresBin = "/usr/lib/postgresql/15/bin/"

func newCluster(t *testing.T) *cluster {
	t.Helper()
	need.File(t, "the Debian package postgresql-15", postgresBin+"initdb")
	dir, err := os.MkdirTemp("", "pg") // short: a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c := &cluster{dir: dir}
	if os.Geteuid() == 0 { // PostgreSQL refuses to run as root
		u, err := user.Lookup("postgres")
		if err != nil {
			t.Fatal(err)
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		c.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	c.run(t, "initdb", "-D", dir+"/data", "-U", "dssn", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
	c.start(t)
	t.Cleanup(func() { c.stop(t) })
	return c
}

func (c *cluster) run(t *testing.T, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(postgresBin+program, args...)
	cmd.Dir = c.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.cred}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

func (c *cluster) start(t *testing.T) {
	t.Helper()
	c.run(t, "pg_ctl", "start", "-w", "-D", c.dir+"/data", "-l", c.dir+"/log", "-o", "-c listen_addresses='' -k "+c.dir)
}

// stop ends it at once, as a crash would.
func (c *cluster) stop(t *testing.T) {
	t.Helper()
	c.run(t, "pg_ctl", "stop", "-w", "-m", "immediate", "-D", c.dir+"/data")
}

func (c *cluster) url(database string) string {
	return fmt.Sprintf("postgres://dssn@/%s?host=%s", database, c.dir)
}

func (c *cluster) store(t *testing.T) store {
	t.Helper()
	c.databases++
	url := c.url(fmt.Sprintf("d%d", c.databases))
	c.run(t, "createdb", "-h", c.dir, "-U", "dssn", fmt.Sprintf("d%d", c.databases))
	return store{
		open: func() (*journal.Journal, error) { return journal.OpenPostgres(t.Context(), url) },
		db:   func(t *testing.T) *sql.DB { return openDB(t, "pgx", url) },
	}
}
