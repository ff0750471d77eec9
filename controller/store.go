package controller

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"dssn/controller/journal"
)

// standbyPoll is how often a standby asks whether the leader's lease has ended.
const standbyPoll = 250 * time.Millisecond

// openJournal opens the file in the state directory or the database of Store.
// While another controller leads there it waits for its turn, until ctx ends.
func (o *Options) openJournal(ctx context.Context) (*journal.Journal, error) {
	if o.Store == "" {
		return journal.Open(filepath.Join(o.State, databaseName))
	}
	for waits := 0; ; waits++ {
		j, err := journal.OpenPostgres(ctx, o.Store)
		if !errors.Is(err, journal.ErrInUse) {
			return j, err
		}
		if waits == 0 {
			o.Logger.Info("another controller leads: standing by")
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(standbyPoll):
		}
	}
}
