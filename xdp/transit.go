package xdp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"dssn/xdp/bpf"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Transit forwards NEXT-CSID carriers inside the driver of the interfaces it is
// attached to (bpf/transit.c tells what becomes of each frame). What it forwards
// never reaches this process; what the process does is fill tables.
//
// With a PinDir it lives on without the process: tables, counters and attachments
// are pinned there, the next OpenTransit adopts them, and RemoveTransit ends it.
// Without one it ends with the process. Methods may be called concurrently.
type Transit struct {
	objects bpf.TransitObjects
	spec    *ebpf.MapSpec // of a table of routes
	dir     string
	adopted bool

	setting sync.Mutex               // one change of tables or attachments at a time; guards what follows
	guard   int                      // a socket whose end tells the program that this process is gone; -1: none yet
	links   map[int]link.Link        // by interface index
	modes   map[int]AttachMode       // of links made by this process
	ports   map[int]uint32           // interface index → device map key
	meters  map[meterKey]meterValues // as last set

	// marking is held for the time of a few map writes, so that a repair never
	// waits for a table to be swapped. It is taken inside setting.
	marking     sync.Mutex
	adjacencies map[Adjacency]*hop
	linksDown   map[int]bool // by interface index, as last told
}

// hop is an adjacency's place in the map and why it cannot be used, if so.
type hop struct{ number, port, down uint32 }

// Why an adjacency is down; the program asks only whether there is a reason.
const (
	downLink = 1 << iota // SetLinkUp
	downTold             // SetUp
)

// TransitOptions says who this node is and how long its transit should last.
type TransitOptions struct {
	// Block is the /32 locator block and SID this node's identifier in it.
	Block netip.Prefix
	SID   uint16
	// WireGuardPort is the UDP port whose transport messages, arrived here, go to
	// the sockets added; 0 leaves them to the kernel.
	WireGuardPort uint16
	// PinDir is a folder of a BPF file system (usually /sys/fs/bpf/dssn), made if
	// absent; empty pins nothing.
	PinDir string

	// LeaveOut compiles parts away, to measure what they cost.
	LeaveOut TransitParts
}

// TransitParts are parts of the program that can be left out.
type TransitParts struct{ Counters, Meters, Repair bool }

// MAC is an Ethernet address.
type MAC [6]byte

// String returns the usual six pairs of hexadecimal digits.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// Adjacency is a neighbour on a link. The zero value is none.
type Adjacency struct {
	Ifindex int    // the link's interface
	To      MAC    // the neighbour's address there
	From    MAC    // our own
	VLAN    uint16 // the tag to write; 0 none
	MTU     uint16 // longest IPv6 packet in bytes, header included
}

// IsZero reports whether a is no adjacency.
func (a Adjacency) IsZero() bool { return a == Adjacency{} }

// TransitRoute leads carriers whose next SID is SID to a neighbour, and to
// another one while the adjacency Via is down. Backup may be zero.
type TransitRoute struct {
	SID         uint16
	Via, Backup Adjacency
}

// OpenTransit loads the program, or adopts what a process before this one pinned
// in PinDir: forwarding goes on meanwhile, and counters and tables keep what they
// hold. An adopted interface runs the new program as soon as Attach is called for
// it, which may be after its tables are set.
func OpenTransit(o TransitOptions) (*Transit, error) {
	if !o.Block.Addr().Is6() || o.Block.Bits() != 32 {
		return nil, fmt.Errorf("transit for block %s: use an IPv6 /32, such as 5f00:d55::/32", o.Block)
	}
	if o.SID == 0 {
		return nil, errors.New("transit for SID 0: a node's SID is not zero")
	}
	spec, err := bpf.LoadTransit()
	if err != nil {
		return nil, fmt.Errorf("reading the transit program: %w", err)
	}
	for name, off := range map[string]bool{"with_counters": o.LeaveOut.Counters, "with_meters": o.LeaveOut.Meters, "with_repair": o.LeaveOut.Repair} {
		if off {
			if err := spec.Variables[name].Set(uint32(0)); err != nil {
				return nil, fmt.Errorf("setting up the transit program: %w", err)
			}
		}
	}
	block := o.Block.Masked().Addr().As16()
	if err := errors.Join(spec.Variables["our_block"].Set(binary.NativeEndian.Uint32(block[:])), spec.Variables["our_sid"].Set(bigEndian16(o.SID)),
		spec.Variables["wireguard_port"].Set(bigEndian16(o.WireGuardPort))); err != nil {
		return nil, fmt.Errorf("telling the transit program its SID: %w", err)
	}
	t := &Transit{
		spec: spec.Maps[bpf.TransitMapRoutes].InnerMap, dir: o.PinDir, guard: -1,
		links: make(map[int]link.Link), modes: make(map[int]AttachMode),
		adjacencies: make(map[Adjacency]*hop), ports: make(map[int]uint32),
		meters: make(map[meterKey]meterValues), linksDown: make(map[int]bool),
	}
	kept, err := pinnedMaps(o.PinDir, spec)
	defer func() {
		for _, m := range kept {
			m.Close()
		}
	}()
	if err != nil {
		return nil, err
	}
	if err := spec.LoadAndAssign(&t.objects, &ebpf.CollectionOptions{MapReplacements: kept}); err != nil {
		return nil, explain("loading the transit program", err)
	}
	t.adopted = len(kept) > 0
	if err := t.setUp(); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// setUp pins what is not pinned and reads what was adopted.
func (t *Transit) setUp() error {
	if !t.adopted {
		// An empty table, so that there always is one.
		if err := t.swap(nil); err != nil {
			return err
		}
	}
	if t.dir != "" {
		if err := t.pin(); err != nil {
			return err
		}
	}
	if t.adopted {
		return t.recall()
	}
	return nil
}

// Adopted says whether OpenTransit found a transit at work.
func (t *Transit) Adopted() bool { return t.adopted }

// IngressOptions describe an interface on which carriers arrive.
type IngressOptions struct {
	Ifindex int
	MAC     MAC    // frames to other stations are the kernel's
	VLAN    uint16 // the one tag that frames carry; 0: none
	// Source, if valid, is the only node whose packets may come in here, by the first
	// 64 bits of its address: a terminal's, on its access link.
	Source netip.Addr
	Attach AttachMode
}

// Attach lets carriers in on an interface, and puts the program there, in place of
// the one of an adopted transit without losing a frame. It says where the program
// runs. Frames leave by attached and unattached interfaces alike.
func (t *Transit) Attach(o IngressOptions) (AttachMode, error) {
	t.setting.Lock()
	defer t.setting.Unlock()
	if o.MAC == (MAC{}) {
		return 0, fmt.Errorf("letting carriers in on interface %d: its own address must be given", o.Ifindex)
	}
	if err := t.letIn(o); err != nil {
		return 0, err
	}
	if l := t.links[o.Ifindex]; l != nil {
		if err := l.Update(t.objects.Transit); err != nil {
			return 0, explain(fmt.Sprintf("replacing the transit program on interface %d", o.Ifindex), err)
		}
		return t.modes[o.Ifindex], nil
	}
	l, mode, err := attachXDP(t.objects.Transit, o.Ifindex, o.Attach)
	if err != nil {
		return 0, err
	}
	if t.dir != "" {
		if err := l.Pin(t.linkPath(o.Ifindex, mode)); err != nil {
			return 0, errors.Join(explain(fmt.Sprintf("pinning transit on interface %d", o.Ifindex), err), l.Close())
		}
	}
	t.links[o.Ifindex], t.modes[o.Ifindex] = l, mode
	return mode, nil
}

// letIn writes an interface's entry: no more is needed where the program is already.
func (t *Transit) letIn(o IngressOptions) error {
	in := bpf.TransitTransitIngress{Mac: o.MAC, Vlan: bigEndian16(o.VLAN)}
	if o.Source.IsValid() {
		in.Source = firstHalf(o.Source)
	}
	if err := t.objects.Ingress.Put(uint32(o.Ifindex), &in); err != nil {
		return fmt.Errorf("letting carriers in on interface %d (indices up to %d are possible): %w", o.Ifindex, t.objects.Ingress.MaxEntries()-1, err)
	}
	return nil
}

// Attached lists the interfaces on which the program is, by this process or the one
// before it.
func (t *Transit) Attached() []int {
	t.setting.Lock()
	defer t.setting.Unlock()
	return slices.Sorted(maps.Keys(t.links))
}

// Detach leaves the carriers that arrive on an interface to the kernel.
func (t *Transit) Detach(ifindex int) error {
	t.setting.Lock()
	defer t.setting.Unlock()
	l := t.links[ifindex]
	if l == nil {
		return nil
	}
	delete(t.links, ifindex)
	errs := []error{t.objects.Ingress.Put(uint32(ifindex), &bpf.TransitTransitIngress{})}
	if t.dir != "" {
		errs = append(errs, l.Unpin())
	}
	return errors.Join(append(errs, l.Close())...)
}

// SetRoutes replaces the whole table at once: each packet sees the old one or the
// new one. SIDs without a route are the kernel's. Adjacencies known already keep
// being up or down.
//
// From the first call on, and until this process ends, the program trusts its table and
// what SetUp and SetLinkUp said. Before and after, in a pinned transit, it asks the
// kernel's routes for each packet, as long as there are any: they follow links by
// themselves.
func (t *Transit) SetRoutes(routes []TransitRoute) error {
	t.setting.Lock()
	defer t.setting.Unlock()
	used := make(map[Adjacency]bool)
	table := make([]bpfRoute, tableSize)
	var err error
	for _, r := range routes {
		if r.SID == 0 || r.Via.IsZero() {
			return fmt.Errorf("a transit route to SID %x by %v: both must be given", r.SID, r.Via)
		}
		e := &table[r.SID]
		if e.Via, err = t.number(r.Via); err != nil {
			return err
		}
		used[r.Via] = true
		if !r.Backup.IsZero() {
			if e.Backup, err = t.number(r.Backup); err != nil {
				return err
			}
			used[r.Backup] = true
		}
	}
	if err := t.swap(table); err != nil {
		return err
	}
	if err := t.watchOver(); err != nil {
		return err
	}
	return t.forget(used)
}

// watchOver lets the program know that this process repairs.
func (t *Transit) watchOver() (err error) {
	if t.guard >= 0 {
		return nil
	}
	const doing = "watching over the transit program"
	if t.guard, err = unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		t.guard = -1
		return explain(doing, err)
	}
	if err := t.objects.Guard.Put(uint32(0), uint32(t.guard)); err != nil {
		return explain(doing, err)
	}
	return nil
}

const tableSize = 1 << 16

type bpfRoute struct{ Via, Backup uint16 }

// swap fills a table of its own and then makes it the one that counts.
func (t *Transit) swap(table []bpfRoute) error {
	m, err := ebpf.NewMap(t.spec)
	if err != nil {
		return explain("making a table of routes", err)
	}
	defer m.Close()
	if table != nil {
		keys := make([]uint32, len(table))
		for i := range keys {
			keys[i] = uint32(i)
		}
		if _, err := m.BatchUpdate(keys, table, nil); err != nil {
			return fmt.Errorf("filling a table of routes: %w", err)
		}
	}
	if err := t.objects.Routes.Put(uint32(0), m); err != nil {
		return fmt.Errorf("swapping the tables of routes: %w", err)
	}
	return nil
}

// RoutedSIDs lists, ascending, the SIDs that the table in force leads somewhere, also one
// that a process before this one set.
func (t *Transit) RoutedSIDs() ([]uint16, error) {
	t.setting.Lock()
	defer t.setting.Unlock()
	var table *ebpf.Map
	if err := t.objects.Routes.Lookup(uint32(0), &table); err != nil {
		return nil, fmt.Errorf("reading the table of routes: %w", err)
	}
	defer table.Close()
	keys, routes := make([]uint32, tableSize), make([]bpfRoute, tableSize)
	var at ebpf.MapBatchCursor
	n, err := table.BatchLookup(&at, keys, routes, nil)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) { // which says that there are no more
		return nil, fmt.Errorf("reading the table of routes: %w", err)
	}
	var sids []uint16
	for i, r := range routes[:n] {
		if r.Via != 0 {
			sids = append(sids, uint16(keys[i]))
		}
	}
	slices.Sort(sids)
	return sids, nil
}

// number finds or makes an adjacency's entry.
func (t *Transit) number(a Adjacency) (uint16, error) {
	port, err := t.port(a.Ifindex)
	if err != nil {
		return 0, err
	}
	t.marking.Lock()
	defer t.marking.Unlock()
	if h, ok := t.adjacencies[a]; ok {
		return uint16(h.number), nil
	}
	taken := make(map[uint32]bool, len(t.adjacencies))
	for _, h := range t.adjacencies {
		taken[h.number] = true
	}
	h := &hop{number: 1, port: port}
	for taken[h.number] {
		h.number++
	}
	if h.number >= t.objects.Adjacencies.MaxEntries() {
		return 0, fmt.Errorf("more than %d adjacencies", h.number-1)
	}
	if t.linksDown[a.Ifindex] {
		h.down = downLink
	}
	if err := t.write(a, h); err != nil {
		return 0, err
	}
	t.adjacencies[a] = h
	return uint16(h.number), nil
}

// write writes an adjacency's entry.
func (t *Transit) write(a Adjacency, h *hop) error {
	v := &bpf.TransitTransitAdjacency{Dst: a.To, Src: a.From, Vlan: bigEndian16(a.VLAN), Mtu: a.MTU, Port: h.port, Down: h.down}
	if err := t.objects.Adjacencies.Put(h.number, v); err != nil {
		return fmt.Errorf("writing adjacency %v: %w", a, err)
	}
	return nil
}

// port finds or makes an interface's entry in the device map.
func (t *Transit) port(ifindex int) (uint32, error) {
	if p, ok := t.ports[ifindex]; ok {
		return p, nil
	}
	taken := slices.Collect(maps.Values(t.ports))
	p := uint32(0)
	for slices.Contains(taken, p) {
		p++
	}
	if err := t.objects.Ports.Put(p, uint32(ifindex)); err != nil {
		return 0, explain(fmt.Sprintf("forwarding to interface %d", ifindex), err)
	}
	t.ports[ifindex] = p
	return p, nil
}

// forget frees adjacencies that no table uses any more.
func (t *Transit) forget(used map[Adjacency]bool) error {
	t.marking.Lock()
	defer t.marking.Unlock()
	var errs []error
	for a, h := range t.adjacencies {
		if !used[a] {
			delete(t.adjacencies, a)
			errs = append(errs, t.objects.Adjacencies.Put(h.number, &bpf.TransitTransitAdjacency{}))
		}
	}
	return errors.Join(errs...)
}

// SetUp says whether an adjacency answers: while it does not, the packets of its
// routes take their backups, from the very next one on. An adjacency that no
// route uses is no error.
func (t *Transit) SetUp(a Adjacency, up bool) error {
	t.marking.Lock()
	defer t.marking.Unlock()
	h, ok := t.adjacencies[a]
	if !ok {
		return nil
	}
	return t.mark(a, h, downTold, up)
}

// SetLinkUp says whether a link has its carrier: while it does not, none of its
// adjacencies is used, whatever SetUp said of them, nor those that later tables
// bring.
func (t *Transit) SetLinkUp(ifindex int, up bool) error {
	t.marking.Lock()
	defer t.marking.Unlock()
	if up {
		delete(t.linksDown, ifindex)
	} else {
		t.linksDown[ifindex] = true
	}
	var errs []error
	for a, h := range t.adjacencies {
		if a.Ifindex == ifindex {
			errs = append(errs, t.mark(a, h, downLink, up))
		}
	}
	return errors.Join(errs...)
}

// mark sets or clears one reason.
func (t *Transit) mark(a Adjacency, h *hop, reason uint32, up bool) error {
	down := h.down | reason
	if up {
		down &^= reason
	}
	if down == h.down {
		return nil
	}
	h.down = down
	return t.write(a, h)
}

// AddSocket hands WireGuard transport messages that arrive here on a queue to a
// socket opened on that queue.
func (t *Transit) AddSocket(queue int, s *Socket) error {
	return addSocket(t.objects.EdgeSockets, queue, s)
}

// RemoveSocket leaves them to the kernel again.
func (t *Transit) RemoveSocket(queue int) error { return removeSocket(t.objects.EdgeSockets, queue) }

// Close ends this process's part: a pinned transit goes on, another one ends.
func (t *Transit) Close() error {
	t.setting.Lock()
	defer t.setting.Unlock()
	var errs []error
	for _, l := range t.links {
		errs = append(errs, l.Close())
	}
	clear(t.links)
	if t.guard >= 0 {
		errs = append(errs, unix.Close(t.guard))
		t.guard = -1
	}
	return errors.Join(append(errs, t.objects.Close())...)
}

// Remove ends transit, pinned or not: everything arriving is the kernel's again.
func (t *Transit) Remove() error {
	err := t.Close()
	if t.dir != "" {
		err = errors.Join(err, RemoveTransit(t.dir))
	}
	return err
}
