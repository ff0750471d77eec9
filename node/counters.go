package node

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"dssn"
	"dssn/controller/southbound"
)

// liveCounts is a file in memory that holds the newest sums of counts. Writing to
// it is writing to memory, and the kernel keeps the pages when the process is
// killed, so a killed node has lost no more than it counted since the last put.
// (A power cut may cost more; usage.json, which is synced, is then the better
// witness, and of both the higher count is taken.)
//
//	0            8       16      64
//	| "DSSNCNT1" | epoch | zeros | slots of 64 bytes …
//
//	slot: reservation, then the six counters in the order of southbound.Count,
//	then eight bytes of zeros; all 64-bit little-endian words, each written at once
//
// A slot with reservation zero ends the list. Words of one slot may be of two
// puts, which is as good: each only grows. Owned by one goroutine.
type liveCounts struct {
	file  *os.File
	words []uint64 // the mapping
	slots map[dssn.ReservationID]int
}

const (
	liveMagic     = "DSSNCNT1"
	liveSlotWords = 8
	liveFirst     = 1024 // slots of a new file
)

// openLiveCounts opens or makes the file of an epoch and returns what it held.
// What it held of another epoch has been reported under that and is not
// counted again.
func openLiveCounts(path, epoch string) (*liveCounts, []southbound.Count, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("open the counters: %w", err)
	}
	l := &liveCounts{file: f}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("open the counters: %w", err)
	}
	slots := max(liveFirst, int(fi.Size()/8/liveSlotWords)-1)
	if err := l.remap(slots); err != nil {
		f.Close()
		return nil, nil, err
	}
	head := l.bytes()[:liveSlotWords*8]
	want := make([]byte, len(head))
	copy(want, liveMagic)
	if raw, err := hex.DecodeString(epoch); err == nil {
		copy(want[8:], raw)
	}
	if !bytes.Equal(head, want) {
		clear(l.words)
		clear(l.slots)
		copy(head, want)
	}
	return l, l.list(), nil
}

// remap makes the file and its mapping hold this many slots.
func (l *liveCounts) remap(slots int) error {
	size := (slots + 1) * liveSlotWords * 8
	if err := l.file.Truncate(int64(size)); err != nil {
		return fmt.Errorf("make room for counters: %w", err)
	}
	mem, err := unix.Mmap(int(l.file.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map the counters: %w", err)
	}
	if l.words != nil {
		unix.Munmap(l.bytes())
	}
	// A mapping begins at a page, so its words are aligned.
	l.words = unsafe.Slice((*uint64)(unsafe.Pointer(&mem[0])), size/8)
	l.slots = map[dssn.ReservationID]int{}
	for s := 1; s <= slots; s++ {
		id := dssn.ReservationID(little(atomic.LoadUint64(&l.words[s*liveSlotWords])))
		if id == 0 {
			break
		}
		l.slots[id] = s
	}
	return nil
}

func (l *liveCounts) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&l.words[0])), len(l.words)*8)
}

// little converts between this machine's words and the file's.
func little(v uint64) uint64 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	return binary.NativeEndian.Uint64(b[:])
}

// fields are a count's words in the file's order.
func fields(c *southbound.Count) [6]*uint64 {
	return [6]*uint64{&c.SentPackets, &c.SentBytes, &c.PolicedPackets, &c.PolicedBytes, &c.ReceivedPackets, &c.ReceivedBytes}
}

// list returns what the file holds.
func (l *liveCounts) list() (out []southbound.Count) {
	for id, s := range l.slots {
		c := southbound.Count{Reservation: id}
		for i, f := range fields(&c) {
			*f = little(atomic.LoadUint64(&l.words[s*liveSlotWords+1+i]))
		}
		out = append(out, c)
	}
	return out
}

// put writes one reservation's sums.
func (l *liveCounts) put(c southbound.Count) error {
	s, known := l.slots[c.Reservation]
	if !known {
		s = len(l.slots) + 1
		if (s+1)*liveSlotWords > len(l.words) {
			if err := l.remap(2 * s); err != nil {
				return err
			}
		}
		l.slots[c.Reservation] = s
	}
	for i, f := range fields(&c) {
		atomic.StoreUint64(&l.words[s*liveSlotWords+1+i], little(*f))
	}
	if !known { // last: now the slot counts
		atomic.StoreUint64(&l.words[s*liveSlotWords], little(uint64(c.Reservation)))
	}
	return nil
}

// close ends the mapping; the file stays.
func (l *liveCounts) close() {
	unix.Munmap(l.bytes())
	l.file.Close()
}

// higher merges two witnesses of the same counters.
func higher(a, b southbound.Count) southbound.Count {
	a.Reservation = b.Reservation
	fa, fb := fields(&a), fields(&b)
	for i := range fa {
		*fa[i] = max(*fa[i], *fb[i])
	}
	return a
}
