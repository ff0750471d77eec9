package node

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"reflect"
	"slices"
	"sync"
	"time"

	"dssn/controller/southbound"
	"dssn/node/transfer"
)

// usageFile is what usage.json holds: all that was ever counted here, as of the
// last save. A report says only what is in the file already, so counts within an
// epoch never go back, whatever is killed. The counts themselves live in
// countersFile and are copied here to be synced and reported.
type usageFile struct {
	Epoch     string                `json:"epoch"`
	Sequence  uint64                `json:"sequence"`
	Counts    []southbound.Count    `json:"counts"`
	Received  []southbound.Delivery `json:"received"` // as the receiver
	Served    []transfer.Served     `json:"served"`   // as the holder
	Forgotten uint64                `json:"forgotten"`
}

const usageEvery = time.Second

// saysSomething is how often a node that has ever counted anything reports although
// nothing changed: the controller seals usage every five minutes and then has to
// know that this end has nothing to add.
const saysSomething = 2 * time.Minute

// usage gathers counts and deliveries, keeps them and reports them.
type usage struct {
	save     func(*usageFile) error
	server   *transfer.Server // nil on a backbone node
	counters *countersFile

	mu       sync.Mutex                     // guards the fields below
	file     usageFile                      // as saved last, but for received
	received map[string]southbound.Delivery // by transfer
	sentDone map[uint64][]string            // transfers done in report Sequence
	acked    uint64                         // highest sequence acknowledged
	dirty    bool                           // received changed since the last save
	reported time.Time                      // of the last report
}

func newUsage(s *state) (*usage, error) {
	u := &usage{
		save:     func(f *usageFile) error { return s.saveJSON(fileUsage, f) },
		received: map[string]southbound.Delivery{},
		sentDone: map[uint64][]string{},
	}
	err := s.loadJSON(fileUsage, &u.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	case err != nil:
		// Damaged: what it counted has been reported up to the last second.
		u.file, err = usageFile{}, nil
	}
	if u.file.Epoch == "" {
		var b [8]byte
		rand.Read(b[:]) // never fails (crypto/rand)
		u.file.Epoch = hex.EncodeToString(b[:])
		if err := u.save(&u.file); err != nil { // or a kill would begin another
			return nil, err
		}
	}
	if u.counters, err = openCounters(s.path(fileCounters), u.file.Epoch); err != nil {
		return nil, err
	}
	for _, c := range u.file.Counts {
		u.counters.raise(c)
	}
	for _, d := range u.file.Received {
		u.received[d.Transfer] = d
	}
	return u, err
}

// restore gives the server what an earlier process served.
func (u *usage) restore() {
	if u.server != nil {
		u.server.Restore(u.file.Served)
	}
}

// delivered takes what a receiver on this host reports; counts never go back.
func (u *usage) delivered(d southbound.Delivery) {
	u.mu.Lock()
	defer u.mu.Unlock()
	old, known := u.received[d.Transfer]
	if known {
		d.Started = old.Started
		d.ContentBytes = max(d.ContentBytes, old.ContentBytes)
		d.Done = d.Done || old.Done
	}
	u.received[d.Transfer] = d
	u.dirty = true
}

// report counts everything, saves it, and returns the report of it; nil if
// nothing changed since the last one and that one was acknowledged.
func (u *usage) report(now time.Time) (*southbound.Usage, error) {
	var served []transfer.Served
	if u.server != nil {
		served = u.server.Deliveries()
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	counts := u.sums()
	if slices.Equal(counts, u.file.Counts) && slices.EqualFunc(served, u.file.Served, func(a, b transfer.Served) bool { return reflect.DeepEqual(a, b) }) && !u.dirty && u.acked >= u.file.Sequence &&
		(len(counts) == 0 || now.Sub(u.reported) < saysSomething) {
		return nil, nil
	}
	f := u.file
	f.Sequence++
	f.Counts, f.Served = counts, served
	f.Received = make([]southbound.Delivery, 0, len(u.received))
	for _, d := range u.received {
		f.Received = append(f.Received, d)
	}
	slices.SortFunc(f.Received, func(a, b southbound.Delivery) int { return a.Started.Compare(b.Started) })
	if err := u.save(&f); err != nil {
		return nil, err
	}
	u.file, u.dirty, u.reported = f, false, now
	r := &southbound.Usage{Epoch: f.Epoch, Sequence: f.Sequence, At: now, Counts: f.Counts, Deliveries: slices.Clone(f.Received)}
	for _, s := range served {
		r.Deliveries = append(r.Deliveries, s.Delivery)
	}
	var done []string
	for _, d := range r.Deliveries {
		if d.Done {
			done = append(done, d.Transfer)
		}
	}
	if len(done) > 0 {
		u.sentDone[f.Sequence] = done
	}
	return r, nil
}

// sums lists every reservation ever counted here.
func (u *usage) sums() []southbound.Count {
	out := u.counters.list()
	slices.SortFunc(out, func(a, b southbound.Count) int { return cmp.Compare(a.Reservation, b.Reservation) })
	return out
}

// acknowledged takes the controller's word that a report is durable: transfers
// that were done in it need not be reported again.
func (u *usage) acknowledged(a *southbound.UsageAck) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if a.Epoch != u.file.Epoch {
		return
	}
	u.acked = max(u.acked, a.Sequence)
	for seq, done := range u.sentDone {
		if seq > a.Sequence {
			continue
		}
		delete(u.sentDone, seq)
		for _, t := range done {
			if d, ok := u.received[t]; ok && d.Done {
				delete(u.received, t)
				u.file.Forgotten++
			}
			if u.server != nil {
				u.server.Forget(t)
			}
		}
	}
}

// counts returns the sums as saved last.
func (u *usage) counts() []southbound.Count {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.file.Counts)
}
