package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// postgresMigrations are migrations in PostgreSQL's words; the table
// schema_version says how many a database has had.
var postgresMigrations = []string{`
CREATE TABLE journal (seq bigint PRIMARY KEY, at bigint NOT NULL, body bytea NOT NULL, hash bytea NOT NULL);
CREATE TABLE log_leaf (idx bigint PRIMARY KEY, data bytea NOT NULL);
CREATE TABLE log_hash (idx bigint PRIMARY KEY, hash bytea NOT NULL);
CREATE TABLE setting (name text PRIMARY KEY, value bytea NOT NULL);
CREATE TABLE snapshot (seq bigint PRIMARY KEY, hash bytea NOT NULL, state bytea NOT NULL);
CREATE TABLE leader (one integer PRIMARY KEY CHECK (one = 1), epoch bigint NOT NULL, until timestamptz NOT NULL);
INSERT INTO leader VALUES (1, 0, '-infinity');
`}

const (
	// leaseFor is how long a lease lasts by the database's clock, renewEvery how
	// often its holder renews it.
	leaseFor   = "2 seconds"
	renewEvery = time.Second
	// writeTimeout bounds a write, so that a database that hangs is an error.
	writeTimeout = 30 * time.Second
	// migrationLock is the advisory lock under which the schema is changed.
	migrationLock = 0x6473736e
)

// ErrDeposed is what a write gets once another controller leads.
var ErrDeposed = errors.New("another controller has taken over and leads now: this one wrote nothing more; start it again to stand by")

// lease is the leadership of a database: the epoch that every write checks.
type lease struct {
	epoch int64
	stop  chan struct{}
	ended sync.WaitGroup
	lost  chan struct{} // closed when another epoch was seen
	once  sync.Once
	halt  sync.Once // closes stop
}

// OpenPostgres opens the journal in the database at url and takes its leadership
// under a new epoch. The error wraps ErrInUse while the lease of another lives.
func OpenPostgres(ctx context.Context, url string) (*Journal, error) {
	c, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("open the journal in PostgreSQL: %w: write --store postgres://USER@HOST/DATABASE", err)
	}
	c.RuntimeParams["synchronous_commit"] = "on"
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 5 * time.Second
	}
	j := &Journal{db: stdlib.OpenDB(*c)}
	j.db.SetMaxOpenConns(4)
	if err := j.openPostgres(ctx); err != nil {
		j.db.Close()
		return nil, fmt.Errorf("open the journal in PostgreSQL, database %s at %s: %w", c.Database, c.Host, err)
	}
	return j, nil
}

func (j *Journal) openPostgres(ctx context.Context) error {
	if err := j.tx(func(tx *sql.Tx) error { return migratePostgres(ctx, tx) }); err != nil {
		return err
	}
	l := &lease{stop: make(chan struct{}), lost: make(chan struct{})}
	err := j.db.QueryRowContext(ctx, "UPDATE leader SET epoch = epoch + 1, until = clock_timestamp() + interval '"+leaseFor+
		"' WHERE until < clock_timestamp() RETURNING epoch").Scan(&l.epoch)
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%w: stop it, or wait until its lease ends", ErrInUse)
	}
	if err != nil {
		return err
	}
	// From here on nobody else writes under an older epoch: the head stays.
	if err := j.readHead(); err != nil {
		return err
	}
	j.lease = l
	l.ended.Go(func() { l.renew(j.db) })
	return nil
}

func migratePostgres(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", migrationLock); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS schema_version (version integer NOT NULL)"); err != nil {
		return err
	}
	var version int
	if err := tx.QueryRowContext(ctx, "SELECT coalesce(max(version), 0) FROM schema_version").Scan(&version); err != nil {
		return err
	}
	if version > len(postgresMigrations) {
		return fmt.Errorf("it was written by a newer version (schema %d, this program knows %d): update the program", version, len(postgresMigrations))
	}
	for ; version < len(postgresMigrations); version++ {
		for _, s := range strings.Split(postgresMigrations[version], ";\n") {
			if strings.TrimSpace(s) == "" {
				continue
			}
			if _, err := tx.ExecContext(ctx, s); err != nil {
				return fmt.Errorf("bring its schema from %d to %d: %w", version, version+1, err)
			}
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO schema_version VALUES ($1)", version+1); err != nil {
			return err
		}
	}
	return nil
}

// check holds the epoch row until the transaction ends, so that a takeover comes
// before this write, which then fails, or after it, and then sees it.
func (l *lease) check(ctx context.Context, tx *sql.Tx) error {
	var epoch int64
	if err := tx.QueryRowContext(ctx, "SELECT epoch FROM leader FOR SHARE").Scan(&epoch); err != nil {
		return err
	}
	if epoch != l.epoch {
		l.once.Do(func() { close(l.lost) })
		return ErrDeposed
	}
	return nil
}

// renew keeps the lease until it is stopped or lost. A database that does not
// answer is asked again: writes say what is wrong with it.
func (l *lease) renew(db *sql.DB) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), renewEvery)
		r, err := db.ExecContext(ctx, "UPDATE leader SET until = clock_timestamp() + interval '"+leaseFor+"' WHERE epoch = $1", l.epoch)
		cancel()
		if err != nil {
			continue
		}
		if n, err := r.RowsAffected(); err == nil && n == 0 {
			l.once.Do(func() { close(l.lost) })
			return
		}
	}
}

// end stops renewing and gives the lease back where the database can be reached.
func (l *lease) end(db *sql.DB) {
	l.halt.Do(func() { close(l.stop) })
	l.ended.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), renewEvery)
	defer cancel()
	_, _ = db.ExecContext(ctx, "UPDATE leader SET until = '-infinity' WHERE epoch = $1", l.epoch) // else it ends by itself
}

// Lost is closed once another controller is known to lead; it is nil, which
// blocks for ever, for a file.
func (j *Journal) Lost() <-chan struct{} {
	if j.lease == nil {
		return nil
	}
	return j.lease.lost
}

// sql writes a statement's question marks as the database wants them.
func (j *Journal) sql(q string) string {
	if j.lease == nil {
		return q
	}
	var b strings.Builder
	n := 0
	for _, r := range q {
		if r != '?' {
			b.WriteRune(r)
			continue
		}
		n++
		b.WriteString("$" + strconv.Itoa(n))
	}
	return b.String()
}
