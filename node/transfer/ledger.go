package transfer

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"dssn"
	"dssn/controller/southbound"
)

// Bounds of what strangers can make a holder remember.
const (
	// maxOpenTransfers is how many unfinished transfers one source may have.
	maxOpenTransfers = 1024
	abandonedAfter   = 24 * time.Hour
	transferIDDigits = 32
)

// ledger is what a holder knows about the transfers it serves: for each, which
// distinct bytes went out and how many of them the receiver has acknowledged.
// Inputs come with their time; nothing here reads a clock. Safe for concurrent
// use.
type ledger struct {
	mu        sync.Mutex
	transfers map[string]*account
}

// account is one transfer. Guarded by ledger.mu.
type account struct {
	source      netip.Addr
	delivery    southbound.Delivery // ContentBytes is what was acknowledged
	served      map[int]*ranges     // by index of the file in the manifest
	servedBytes uint64              // distinct
	touched     time.Time           // last request
	// restored means that an earlier process served some of it, and how much
	// is not known here: acknowledgements are then bounded by the dataset's
	// length alone. Believing the receiver is safe: it speaks against its own
	// purse.
	restored bool
	// stock clients acknowledge through TCP only.
	stock bool
}

// Terms are the conditions under which a source reaches a dataset.
type Terms struct {
	Peer        dssn.NodeID        // the node behind the source address
	Reservation dssn.ReservationID // that its traffic belongs to
	// Rate is what the reservation is allocated; senders pace to it so that
	// the policer need not drop. Zero means: do not pace.
	Rate dssn.Bandwidth
}

// CheckTransferID reports why id cannot name a transfer.
func CheckTransferID(id string) error {
	if len(id) == transferIDDigits {
		ok := true
		for _, c := range []byte(id) {
			ok = ok && (c >= '0' && c <= '9' || c >= 'a' && c <= 'f')
		}
		if ok {
			return nil
		}
	}
	return fmt.Errorf("%.40q is not a transfer: use %d lower-case hexadecimal digits", id, transferIDDigits)
}

// open makes sure that there is an account of a transfer. verified is what the
// receiver says it had verified before it began to ask this process. The same
// identifier from another source or for other data is refused.
func (l *ledger) open(id string, source netip.Addr, data dssn.DataID, terms Terms, verified uint64, now time.Time) error {
	if err := CheckTransferID(id); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if a, ok := l.transfers[id]; ok {
		if a.source != source || a.delivery.Data != data {
			return fmt.Errorf("transfer %s belongs to another receiver or dataset: begin a transfer of your own", id)
		}
		a.delivery.Peer, a.delivery.Reservation = terms.Peer, terms.Reservation
		a.touched = now
		return nil
	}
	if err := l.roomLocked(source, now); err != nil {
		return err
	}
	l.beginLocked(id, source, data, terms, now).restored = verified > 0
	return nil
}

// roomLocked refuses sources that begin transfers and never finish them; the
// one untouched for longest makes room if that is a day or more. What was
// acknowledged of it has been reported long ago.
func (l *ledger) roomLocked(source netip.Addr, now time.Time) error {
	open := 0
	var oldest *account
	for _, a := range l.transfers {
		if a.source == source && !a.delivery.Done {
			open++
			if oldest == nil || a.touched.Before(oldest.touched) {
				oldest = a
			}
		}
	}
	if open < maxOpenTransfers {
		return nil
	}
	if now.Sub(oldest.touched) < abandonedAfter {
		return fmt.Errorf("%s has %d unfinished transfers: finish some of them first", source, open)
	}
	delete(l.transfers, oldest.delivery.Transfer)
	return nil
}

func (l *ledger) beginLocked(id string, source netip.Addr, data dssn.DataID, terms Terms, now time.Time) *account {
	a := &account{source: source, touched: now, served: map[int]*ranges{}, delivery: southbound.Delivery{
		Transfer: id, End: southbound.EndHolder, Data: data, Peer: terms.Peer,
		Reservation: terms.Reservation, Started: now, Updated: now,
	}}
	if l.transfers == nil {
		l.transfers = map[string]*account{}
	}
	l.transfers[id] = a
	return a
}

// serve notes that bytes s of a file go out. It is called before they are sent,
// because the receiver may acknowledge them before the call that sends returns.
func (l *ledger) serve(id string, file int, s span) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.transfers[id]
	if a == nil {
		return
	}
	r := a.served[file]
	if r == nil {
		r = new(ranges)
		a.served[file] = r
	}
	a.servedBytes += uint64(r.add(s))
}

// acknowledge takes the receiver's cumulative count and returns the one in
// force. A count below an earlier one is late and changes nothing; one above
// what was served, or above the dataset's length, is refused.
func (l *ledger) acknowledge(id string, source netip.Addr, data dssn.DataID, terms Terms, count uint64, done bool, length uint64, now time.Time) (uint64, error) {
	if err := CheckTransferID(id); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.transfers[id]
	if a == nil {
		if err := l.roomLocked(source, now); err != nil {
			return 0, err
		}
		a = l.beginLocked(id, source, data, terms, now)
		a.restored = true
	}
	if a.source != source || a.delivery.Data != data || a.stock {
		return 0, fmt.Errorf("transfer %s belongs to another receiver or dataset: begin a transfer of your own", id)
	}
	limit := a.servedBytes
	if a.restored {
		limit = length
	}
	if count > limit {
		return a.delivery.ContentBytes, fmt.Errorf("transfer %s acknowledges %d bytes but only %d were served: acknowledge what was verified", id, count, limit)
	}
	if count > a.delivery.ContentBytes || done && !a.delivery.Done {
		a.delivery.ContentBytes = max(a.delivery.ContentBytes, count)
		a.delivery.Done = a.delivery.Done || done
		a.delivery.Updated = now
	}
	return a.delivery.ContentBytes, nil
}

// stock creates or updates the account of a stock client's connection.
func (l *ledger) stock(id string, source netip.Addr, data dssn.DataID, terms Terms, acked uint64, done bool, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.transfers[id]
	if a == nil {
		a = l.beginLocked(id, source, data, terms, now)
		a.stock = true
	}
	if acked > a.delivery.ContentBytes || done && !a.delivery.Done {
		a.delivery.ContentBytes = max(a.delivery.ContentBytes, acked)
		a.delivery.Done = done
		a.delivery.Updated = now
	}
}

// Served is one transfer as the holder knows it.
type Served struct {
	southbound.Delivery
	Source netip.Addr `json:"source"`
	// ServedBytes are distinct content bytes whose sending began, whether or
	// not they arrived.
	ServedBytes uint64 `json:"served_bytes"`
	// OneSided marks a stock client: nobody but TCP acknowledged the bytes.
	OneSided bool `json:"one_sided"`
}

func (l *ledger) list() []Served {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Served, 0, len(l.transfers))
	for _, id := range slices.Sorted(maps.Keys(l.transfers)) {
		a := l.transfers[id]
		out = append(out, Served{a.delivery, a.source, max(a.servedBytes, a.delivery.ContentBytes), a.stock})
	}
	return out
}

// restore takes over what list returned in an earlier process.
func (l *ledger) restore(list []Served) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.transfers == nil {
		l.transfers = map[string]*account{}
	}
	for _, s := range list {
		if _, ok := l.transfers[s.Transfer]; ok || CheckTransferID(s.Transfer) != nil {
			continue
		}
		s.Done = s.Done || s.OneSided // its connection died with that process
		l.transfers[s.Transfer] = &account{source: s.Source, delivery: s.Delivery, served: map[int]*ranges{},
			servedBytes: s.ServedBytes, touched: s.Updated, restored: true, stock: s.OneSided}
	}
}

// forget drops a finished transfer; an unfinished one stays.
func (l *ledger) forget(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := l.transfers[id]; a != nil && a.delivery.Done {
		delete(l.transfers, id)
	}
}
