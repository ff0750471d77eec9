package node

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"dssn"
	"dssn/controller/southbound"
	"dssn/dataplane/meter"
)

// countersFile is the file in which the engine's counters live: it is mapped into
// memory, the engine adds to the mapping itself, and the kernel keeps the pages
// when the process is killed. So a killed node has lost nothing that it counted.
// (A power cut may; usage.json, which is synced, is then the better witness, and
// of both the higher count is taken.)
//
//	0            8       16      64
//	| "DSSNCNT1" | epoch | zeros | slots of 64 bytes …
//
//	slot: reservation, the six counters in the order of meter.Counter, worker;
//	64-bit words in the byte order of this machine, each written at once
//
// Each worker of the engine has a slot of its own for a reservation, which is a
// cache line: what a node counted is the sum of them.
//
// A slot with reservation zero ends the list. The file belongs to one machine
// and one epoch; with another epoch it begins anew. Any goroutine may call its
// methods.
type countersFile struct {
	file *os.File

	mu      sync.Mutex // guards the fields below
	chunks  [][]uint64 // never unmapped: the engine may hold on to its counters
	slots   map[slotKey]int
	workers int // one more than the highest that has a slot
}

type slotKey struct {
	reservation dssn.ReservationID
	worker      int
}

const (
	countersMagic = "DSSNCNT1"
	slotWords     = 8
	chunkSlots    = 1024 // 64 KiB, a multiple of every page size in use
	chunkBytes    = chunkSlots * slotWords * 8
	ownersBound   = 4096 // more workers than any engine has; a damaged slot names no more
)

// A slot has room for a counter between its reservation and its worker.
const _ = uint(slotWords*8 - 16 - unsafe.Sizeof(meter.Counter{}))

// openCounters opens or makes the file of an epoch. What it held of another
// epoch has been reported under that and is not counted again.
func openCounters(path, epoch string) (*countersFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the counters: %w", err)
	}
	c := &countersFile{file: f, slots: map[slotKey]int{}}
	want := make([]byte, slotWords*8)
	copy(want, countersMagic)
	if raw, err := hex.DecodeString(epoch); err == nil {
		copy(want[8:16], raw)
	}
	head := make([]byte, len(want))
	if n, _ := f.ReadAt(head, 0); n < len(head) || !bytes.Equal(head, want) {
		err = f.Truncate(0)
	}
	if err == nil {
		err = c.growLocked()
	}
	if err == nil {
		_, err = f.WriteAt(want, 0)
	}
	fi, e := f.Stat()
	for err = errors.Join(err, e); err == nil && int64(len(c.chunks)+1)*chunkBytes <= fi.Size(); {
		err = c.growLocked()
	}
	for s := 1; err == nil && s < len(c.chunks)*chunkSlots; s++ {
		id := dssn.ReservationID(atomic.LoadUint64(c.word(s)))
		if id == 0 {
			break
		}
		c.addLocked(slotKey{id, int(atomic.LoadUint64(c.owner(s)) % ownersBound)}, s)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open the counters: %w", err)
	}
	return c, nil
}

// growLocked maps one more chunk. Where the file does not reach so far it is
// written out first, so that a full disk is an error here and not a signal when
// a counter is touched.
func (c *countersFile) growLocked() error {
	at := int64(len(c.chunks)) * chunkBytes
	fi, err := c.file.Stat()
	if err != nil {
		return err
	}
	if missing := at + chunkBytes - fi.Size(); missing > 0 {
		if _, err := c.file.WriteAt(make([]byte, missing), fi.Size()); err != nil {
			return err
		}
	}
	mem, err := unix.Mmap(int(c.file.Fd()), at, chunkBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map the counters: %w", err)
	}
	// A mapping begins at a page, so its words are aligned.
	c.chunks = append(c.chunks, unsafe.Slice((*uint64)(unsafe.Pointer(&mem[0])), chunkBytes/8))
	return nil
}

// word returns where slot s begins.
func (c *countersFile) word(s int) *uint64 {
	return &c.chunks[s/chunkSlots][s%chunkSlots*slotWords]
}

func (c *countersFile) counter(s int) *meter.Counter {
	return (*meter.Counter)(unsafe.Pointer(&c.chunks[s/chunkSlots][s%chunkSlots*slotWords+1]))
}

func (c *countersFile) addLocked(k slotKey, s int) {
	c.slots[k] = s
	c.workers = max(c.workers, k.worker+1)
}

// owner returns where slot s says whose it is.
func (c *countersFile) owner(s int) *uint64 {
	return &c.chunks[s/chunkSlots][s%chunkSlots*slotWords+slotWords-1]
}

// place returns where a worker's counter of a reservation lives, with what it
// counted before; nil if there is no room on the disk. Engines are given it.
func (c *countersFile) place(id dssn.ReservationID, worker int) *meter.Counter {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.slots[slotKey{id, worker}]; ok {
		return c.counter(s)
	}
	s := len(c.slots) + 1
	if s == len(c.chunks)*chunkSlots {
		if c.growLocked() != nil {
			return nil
		}
	}
	c.addLocked(slotKey{id, worker}, s)
	atomic.StoreUint64(c.owner(s), uint64(worker))
	atomic.StoreUint64(c.word(s), uint64(id)) // last: it makes the slot valid
	return c.counter(s)
}

// raise brings the count of a reservation up to what another witness says. Call it
// before an engine counts.
func (c *countersFile) raise(w southbound.Count) {
	k := c.place(w.Reservation, 0)
	if k == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	is := c.sumLocked(w.Reservation)
	for _, f := range []struct {
		first  *atomic.Uint64
		is, at uint64
	}{
		{&k.SentPackets, is.SentPackets, w.SentPackets}, {&k.SentBytes, is.SentBytes, w.SentBytes},
		{&k.PolicedPackets, is.PolicedPackets, w.PolicedPackets}, {&k.PolicedBytes, is.PolicedBytes, w.PolicedBytes},
		{&k.ReceivedPackets, is.ReceivedPackets, w.ReceivedPackets}, {&k.ReceivedBytes, is.ReceivedBytes, w.ReceivedBytes},
	} {
		if f.is < f.at {
			f.first.Add(f.at - f.is)
		}
	}
}

// list returns the count of every reservation, of all workers together, in no
// order.
func (c *countersFile) list() []southbound.Count {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []southbound.Count
	for key := range c.slots {
		if key.worker == c.firstLocked(key.reservation) {
			out = append(out, c.sumLocked(key.reservation))
		}
	}
	return out
}

// firstLocked is the lowest worker that has a slot for a reservation.
func (c *countersFile) firstLocked(id dssn.ReservationID) int {
	for w := range c.workers {
		if _, ok := c.slots[slotKey{id, w}]; ok {
			return w
		}
	}
	return -1
}

// sumLocked adds up what all workers counted of a reservation.
func (c *countersFile) sumLocked(id dssn.ReservationID) southbound.Count {
	sum := southbound.Count{Reservation: id}
	for w := range c.workers {
		s, ok := c.slots[slotKey{id, w}]
		if !ok {
			continue
		}
		k := c.counter(s)
		sum.SentPackets += k.SentPackets.Load()
		sum.SentBytes += k.SentBytes.Load()
		sum.PolicedPackets += k.PolicedPackets.Load()
		sum.PolicedBytes += k.PolicedBytes.Load()
		sum.ReceivedPackets += k.ReceivedPackets.Load()
		sum.ReceivedBytes += k.ReceivedBytes.Load()
	}
	return sum
}

// close closes the file; what is mapped stays.
func (c *countersFile) close() { c.file.Close() }
