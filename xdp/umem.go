package xdp

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// UMEM is the memory that a NIC and this process share: equal frames, each named
// by the offset of its first byte. Any number of sockets, on any queues and
// devices, may stand on one UMEM, so a frame received on one port is sent on
// another without a copy.
//
// Frames are dealt to Pools, one for each worker. NewPool and Close may be called
// concurrently.
type UMEM struct {
	memory    []byte
	frameSize uint64
	headroom  uint32
	metadata  uint32
	swCsum    bool
	pages     Pages

	mu    sync.Mutex
	dealt uint64    // frames given to pools
	bound []*Socket // sockets that stand on it
}

// UMEMOptions sizes a UMEM. The zero value of each field is the usual choice.
type UMEMOptions struct {
	// Frames is how many there are; 0 means 4096. FramesFor says how many a set
	// of sockets needs.
	Frames int
	// FrameSize is 2048 (the default) or 4096 bytes. A received packet has 256
	// bytes less, the driver's headroom; longer ones need SocketOptions.MultiBuffer.
	FrameSize int
	// Headroom is left free before each received packet, in bytes, for headers to
	// be put in front.
	Headroom int
	// NUMANode places the memory next to the NIC; 0 leaves it to the kernel,
	// n places it on node n−1.
	NUMANode int
	// TxMetadata reserves room before each sent packet for checksum, launch time
	// and timestamp requests (see Desc and UMEM.RequestChecksum). Senders then
	// leave at least TxMetadataBytes free at the frame's start.
	TxMetadata bool
	// SoftwareChecksum makes the kernel compute requested checksums itself, for
	// devices that cannot (copy mode only).
	SoftwareChecksum bool
}

// TxMetadataBytes is the size of the request before a sent packet.
const TxMetadataBytes = 24

// Pages says what memory a UMEM got.
type Pages string

// The kinds of memory, best first. Transparent means that the kernel was asked
// for huge pages and may give them.
const (
	PagesHuge        Pages = "2M huge pages"
	PagesTransparent Pages = "ordinary pages, transparent huge pages asked for"
)

// FramesFor is how many frames a number of equal sockets can hold at one time:
//
//	frames = sockets × (fill + rx + tx + completion) + workers × batch
//
// With as many a worker never finds its pool empty; with fewer the fill ring runs
// short in bursts, which costs packets and nothing else.
func FramesFor(o SocketOptions, sockets, workers, batch int) int {
	o = o.withDefaults()
	return sockets*(o.Fill+o.Rx+o.Tx+o.Completion) + workers*batch
}

// NewUMEM maps the memory: huge pages if enough are reserved, ordinary pages
// otherwise (Pages says which).
func NewUMEM(o UMEMOptions) (*UMEM, error) {
	if o.Frames == 0 {
		o.Frames = 4096
	}
	if o.FrameSize == 0 {
		o.FrameSize = 2048
	}
	if o.FrameSize != 2048 && o.FrameSize != 4096 {
		return nil, fmt.Errorf("a UMEM frame of %d bytes: use 2048 or 4096", o.FrameSize)
	}
	if o.Frames < 1 || o.Frames > 1<<24 {
		return nil, fmt.Errorf("a UMEM of %d frames: use 1 to %d", o.Frames, 1<<24)
	}
	if o.Headroom < 0 || o.Headroom > o.FrameSize-256-64 {
		return nil, fmt.Errorf("a UMEM headroom of %d bytes does not fit a frame of %d", o.Headroom, o.FrameSize)
	}
	const huge = 2 << 20
	size := (o.Frames*o.FrameSize + huge - 1) &^ (huge - 1)
	u := &UMEM{frameSize: uint64(o.FrameSize), headroom: uint32(o.Headroom), pages: PagesHuge, swCsum: o.SoftwareChecksum}
	if o.TxMetadata {
		u.metadata = TxMetadataBytes
	}
	const prot, anon = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
	var err error
	if u.memory, err = unix.Mmap(-1, 0, size, prot, anon|unix.MAP_HUGETLB); err != nil {
		u.pages = PagesTransparent
		if u.memory, err = unix.Mmap(-1, 0, size, prot, anon); err != nil {
			return nil, explain(fmt.Sprintf("mapping %d bytes of UMEM", size), err)
		}
		_ = unix.Madvise(u.memory, unix.MADV_HUGEPAGE)
	}
	if o.NUMANode > 0 {
		if err := bindMemory(u.memory, o.NUMANode-1); err != nil {
			return nil, errors.Join(explain(fmt.Sprintf("placing UMEM on NUMA node %d", o.NUMANode-1), err), unix.Munmap(u.memory))
		}
	}
	// Touch it now: a page fault is a lost packet later.
	for i := 0; i < len(u.memory); i += 4096 {
		u.memory[i] = 0
	}
	u.memory = u.memory[:o.Frames*o.FrameSize]
	return u, nil
}

// Pages says what memory was obtained.
func (u *UMEM) Pages() Pages { return u.pages }

// FrameSize is the size of a frame in bytes, a power of two.
func (u *UMEM) FrameSize() int { return int(u.frameSize) }

// Frames is how many frames there are.
func (u *UMEM) Frames() int { return len(u.memory) / int(u.frameSize) }

// Bytes is a descriptor's packet, in place. A descriptor that does not lie within
// the memory gives nil.
func (u *UMEM) Bytes(d Desc) []byte {
	end := d.Addr + uint64(d.Len)
	if d.Addr > uint64(len(u.memory)) || end > uint64(len(u.memory)) {
		return nil
	}
	return u.memory[d.Addr:end:end]
}

// Frame is the whole frame in which addr lies, in place.
func (u *UMEM) Frame(addr uint64) []byte {
	return u.Bytes(Desc{Addr: u.frameOf(addr), Len: uint32(u.frameSize)})
}

// frameOf is the start of the frame in which addr lies.
func (u *UMEM) frameOf(addr uint64) uint64 { return addr &^ (u.frameSize - 1) }

// number is the index of the frame in which addr lies.
func (u *UMEM) number(addr uint64) int { return int(addr >> bits.TrailingZeros64(u.frameSize)) }

// NewPool deals n frames to a worker. It fails when fewer are left.
func (u *UMEM) NewPool(n int) (*Pool, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if left := uint64(u.Frames()) - u.dealt; n < 1 || uint64(n) > left {
		return nil, fmt.Errorf("dealing %d frames of a UMEM that has %d left: make it larger (FramesFor)", n, left)
	}
	p := &Pool{umem: u, free: make([]uint64, n), owner: newOwners(u)}
	for i := range p.free {
		// The lowest address on top of the stack.
		p.free[n-1-i] = (u.dealt + uint64(i)) * u.frameSize
	}
	u.dealt += uint64(n)
	return p, nil
}

// Close unmaps the memory. It fails while sockets stand on it.
func (u *UMEM) Close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.bound) > 0 {
		return fmt.Errorf("closing a UMEM on which %d sockets stand: close them first", len(u.bound))
	}
	if u.memory == nil {
		return nil
	}
	m := u.memory[:cap(u.memory)]
	u.memory = nil
	return unix.Munmap(m)
}

// Pool is the free frames of one worker: a stack, so that the frame used last,
// still warm in the cache, is used next. A worker's sockets share one Pool; one
// goroutine at a time may use it.
//
// A frame is in exactly one place, and this is its way round:
//
//	Pool ─Refill→ fill ring ─kernel→ rx ring ─Peek→ application ─Submit→ tx ring
//	 ▲ ▲                                               │                   │
//	 │ └───────────────────── Put ─────────────────────┘                kernel
//	 └───────────────── Reclaim ── completion ring ◄───────────────────────┘
//
// Build with the tag xdpcheck to have every step checked.
type Pool struct {
	umem  *UMEM
	free  []uint64
	owner owners
}

// UMEM is the memory whose frames these are.
func (p *Pool) UMEM() *UMEM { return p.umem }

// Free is how many frames are in the pool now.
func (p *Pool) Free() int { return len(p.free) }

// Get takes a frame out of the pool for a packet of one's own; ok is false when
// it is empty. The address is the frame's first byte.
func (p *Pool) Get() (addr uint64, ok bool) {
	if len(p.free) == 0 {
		return 0, false
	}
	addr = p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	p.owner.move(addr, inPool, inHand)
	return addr, true
}

// Put brings back the frame in which addr lies: every received frame that is not
// sent on.
func (p *Pool) Put(addr uint64) {
	addr = p.umem.frameOf(addr)
	p.owner.move(addr, inHand, inPool)
	p.free = append(p.free, addr)
}

// PutAll is Put for the frames of descriptors, such as those of a Peek.
func (p *Pool) PutAll(descs []Desc) {
	back, frame := p.grow(len(descs)), ^(p.umem.frameSize - 1)
	for i := range back {
		back[i] = descs[i].Addr & frame
	}
	p.owner.moveAll(back, inHand, inPool)
}

// grow puts n frames onto the stack, to be written by the caller.
func (p *Pool) grow(n int) []uint64 {
	have := len(p.free)
	p.free = slices.Grow(p.free, n)[:have+n]
	return p.free[have:]
}
