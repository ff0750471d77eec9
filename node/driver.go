package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"dssn"
	"dssn/node/kernel"
	"dssn/xdp"
)

// Transit says who forwards others' packets on a backbone node.
type Transit string

// The choices. The kernel is the default: it works on every host, and beside
// segmentation offloads, which a program in the driver forbids.
const (
	// TransitKernel leaves it to routes and seg6local.
	TransitKernel Transit = "kernel"
	// TransitXDP puts a program into the drivers of the links. It is pinned and
	// goes on when this process ends, however it ends; RemoveTransit ends it. What
	// the program leaves to the kernel, the kernel forwards as ever.
	TransitXDP Transit = "xdp"
)

func (t Transit) check() error {
	switch t {
	case "", TransitKernel, TransitXDP:
		return nil
	}
	return fmt.Errorf("nobody called %q can forward packets: choose kernel or xdp", string(t))
}

// pinRoot is where transit programs are pinned, each node's in a folder of its own:
// nodes in other network namespaces may share the file system.
const pinRoot = "/sys/fs/bpf/dssn"

func pinDir(id dssn.NodeID) string {
	return filepath.Join(pinRoot, strings.ReplaceAll(id.String(), ":", "-"))
}

// HasTransit reports whether the node of a state directory has a transit program
// that goes on without it.
func HasTransit(dir string) (bool, error) {
	id, err := (&state{dir: dir}).identity()
	if err != nil {
		return false, err
	}
	_, err = os.Stat(pinDir(id.Node))
	return err == nil, nil
}

// RemoveTransit ends that program, and reports whether there was one. It may be
// called while the node runs, which then forwards by the kernel until it is started
// again.
func RemoveTransit(dir string) (had bool, err error) {
	had, err = HasTransit(dir)
	if err != nil || !had {
		return had, err
	}
	id, err := (&state{dir: dir}).identity()
	if err != nil {
		return had, err
	}
	if err := xdp.RemoveTransit(pinDir(id.Node)); err != nil {
		return had, err
	}
	os.Remove(pinRoot) // unless another node's transit is there
	return had, nil
}

// openTransit opens what was chosen. A driver that is not to be had leaves the work
// to the kernel, and the status says why.
func (n *running) openTransit(chosen Transit) error {
	if chosen == "" {
		chosen = n.identity.Transit
	}
	if err := chosen.check(); err != nil {
		return err
	}
	if chosen != TransitXDP {
		_, err := RemoveTransit(n.state.dir)
		return err
	}
	d, err := openDriver(n.log, n.identity)
	if err != nil {
		n.withoutDriver = err.Error()
		n.log.Warn("no transit in the driver: the kernel forwards", "err", err)
		return nil
	}
	n.driver = d
	return nil
}

// driver is the transit program of a backbone node. It carries out SetTransit, on a
// goroutine of its own since the swap of a table waits for the kernel, and repairs by
// itself between two plans.
//
//	SetTransit ─→ realise ─→ routes, adjacencies ─┐
//	LinkWatcher (carriers, every 2 ms) ─→ a word ─┼─→ the program, packet by packet
//	Prober (neighbours, every 5 ms) ───→ a word ──┘
type driver struct {
	log        *slog.Logger
	block      netip.Prefix
	transit    *xdp.Transit
	unpinned   string // why, if so
	watcher    *xdp.LinkWatcher
	prober     *xdp.Prober
	neighbours *kernel.Neighbours
	plans      latest[SetTransit]
	news       chan repair

	// Owned by run.
	routes   []xdp.TransitRoute // as last set
	attached map[string]ingress // by name

	mu     sync.Mutex
	modes  map[string]string  // how each link obtained the program, or why not
	sids   []dssn.SID         // that have a route
	meters []xdp.TransitMeter // in force
}

// ingress is a link with the program: its interface, and the terminal behind it.
type ingress struct {
	index  int
	source netip.Addr
}

// repair is a change for the log.
type repair struct {
	adjacency xdp.Adjacency
	up        bool
}

func openDriver(log *slog.Logger, id *Identity) (*driver, error) {
	d := &driver{log: log, block: id.Block, plans: newLatest[SetTransit](), news: make(chan repair, 64), attached: map[string]ingress{}, modes: map[string]string{}}
	o := xdp.TransitOptions{Block: id.Block, SID: uint16(id.SID), PinDir: pinDir(id.Node)}
	var err error
	if d.transit, err = xdp.OpenTransit(o); err != nil {
		pinned := err
		o.PinDir = ""
		if d.transit, err = xdp.OpenTransit(o); err != nil {
			return nil, err
		}
		d.unpinned = pinned.Error()
	}
	err = errors.Join(d.recall(),
		open(&d.watcher, xdp.WatchLinks),
		open(&d.neighbours, kernel.OpenNeighbours),
		open(&d.prober, func() (*xdp.Prober, error) {
			return xdp.NewProber(xdp.ProberOptions{Block: id.Block, SID: uint16(id.SID)})
		}))
	if err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// recall learns what an adopted program has: its counters are to be read before there is
// a plan to change it by.
func (d *driver) recall() error {
	if !d.transit.Adopted() {
		return nil
	}
	sids, err := d.transit.RoutedSIDs()
	for _, sid := range sids {
		d.sids = append(d.sids, dssn.SID(sid))
	}
	d.meters = d.transit.Meters()
	return err
}

func open[T any](to **T, f func() (*T, error)) (err error) {
	*to, err = f()
	return err
}

// close leaves a pinned program at work.
func (d *driver) close() {
	if d.prober != nil {
		d.prober.Close()
	}
	if d.watcher != nil {
		d.watcher.Close()
	}
	if d.neighbours != nil {
		d.neighbours.Close()
	}
	if d.transit != nil {
		d.transit.Close()
	}
}

// resolveEvery is how soon a neighbour whose Ethernet address is not known yet is
// asked for again.
const resolveEvery = 20 * time.Millisecond

// run realises the newest plan until ctx ends.
func (d *driver) run(ctx context.Context) {
	var wait sync.WaitGroup
	defer wait.Wait()
	wait.Go(func() { d.watch(ctx) })
	wait.Go(func() {
		if err := d.prober.Run(d.answers); err != nil {
			d.log.Error("adjacencies are not probed any more", "err", err)
		}
	})
	defer d.prober.Close()
	defer d.watcher.Close()
	var plan *TransitPlan
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-d.plans.c:
			if e.Adopt && d.transit.Adopted() {
				continue // what is at work goes on
			}
			plan = e.Plan
		case <-again:
		case r := <-d.news:
			name := fmt.Sprint(r.adjacency.Ifindex)
			if i, err := net.InterfaceByIndex(r.adjacency.Ifindex); err == nil {
				name = i.Name
			}
			d.log.Info("neighbour probed", "link", name, "mac", r.adjacency.To, "answers", r.up)
			continue
		}
		again = nil
		whole, err := d.realise(plan)
		if err != nil {
			d.log.Warn("transit not as wanted", "err", err)
		}
		if !whole {
			again = time.After(resolveEvery)
		}
	}
}

// watch marks links as they lose and gain their carriers.
func (d *driver) watch(ctx context.Context) {
	for {
		err := d.watcher.Run(func(ifindex int, up bool) {
			if err := d.transit.SetLinkUp(ifindex, up); err != nil {
				d.log.Error("link not marked", "ifindex", ifindex, "err", err)
			}
		})
		if err == nil || ctx.Err() != nil {
			return
		}
		d.log.Warn("watching carriers anew", "err", err)
	}
}

// answers is called by the prober's thread.
func (d *driver) answers(a xdp.Adjacency, up bool) {
	err := d.transit.SetUp(a, up)
	select {
	case d.news <- repair{a, up}:
	default: // the log is behind
	}
	if err != nil {
		d.log.Error("adjacency not marked", "err", err)
	}
}

// realise brings a plan to the program: first the table, then the links, so that an
// adopted program is replaced when its tables are right. whole is false while some
// neighbour's Ethernet address is not known; its routes wait in the kernel.
func (d *driver) realise(p *TransitPlan) (whole bool, err error) {
	links := d.links(p)
	routes, targets, whole, err := d.resolve(p, links)
	errs := []error{err, d.meter(p.Meters)}
	if !slices.Equal(routes, d.routes) || d.routes == nil {
		if err := d.transit.SetRoutes(routes); err != nil {
			return whole, errors.Join(append(errs, err)...)
		}
		d.routes = routes
		sids := make([]dssn.SID, len(routes))
		for i, r := range routes {
			sids[i] = dssn.SID(r.SID)
		}
		d.mu.Lock()
		d.sids = sids
		d.mu.Unlock()
	}
	d.prober.Ask(targets)
	ask := make([]xdp.AskedLink, 0, len(links))
	for name, i := range links {
		ask = append(ask, xdp.AskedLink{Ifindex: i.Index, Name: name})
		errs = append(errs, d.attach(name, i, d.source(p, name)))
	}
	d.watcher.Ask(ask)
	errs = append(errs, d.detachOthers(links))
	return whole, errors.Join(errs...)
}

// meter sets the contracts' meters.
func (d *driver) meter(meters []xdp.TransitMeter) error {
	if err := d.transit.SetMeters(meters); err != nil {
		return err
	}
	d.mu.Lock()
	d.meters = meters
	d.mu.Unlock()
	return nil
}

// source is whose packets may come in on a link: a terminal's. Where the plan knows no
// terminal, because it was not met since the start or is away, the last one stays.
func (d *driver) source(p *TransitPlan, name string) netip.Addr {
	if sid := p.Terminals[name]; sid != 0 {
		return sid.Node(d.block)
	}
	return d.attached[name].source
}

// links finds the plan's interfaces. One that is gone is missing from the next plan.
func (d *driver) links(p *TransitPlan) map[string]*net.Interface {
	links := map[string]*net.Interface{}
	for _, name := range p.Links {
		if i, err := net.InterfaceByName(name); err == nil && len(i.HardwareAddr) == 6 {
			links[name] = i
		} else if err == nil {
			d.say(name, "kernel (no Ethernet)")
		}
	}
	return links
}

// resolve turns hops into adjacencies, and lists the neighbours to ask.
func (d *driver) resolve(p *TransitPlan, links map[string]*net.Interface) (routes []xdp.TransitRoute, targets []xdp.ProbeTarget, whole bool, err error) {
	whole = true
	known := map[TransitHop]xdp.Adjacency{}
	adjacency := func(h TransitHop) xdp.Adjacency {
		if a, ok := known[h]; ok {
			return a
		}
		i := links[h.Interface]
		if i == nil {
			return xdp.Adjacency{}
		}
		to, ok, e := d.neighbours.Resolve(i.Index, h.Address)
		err = errors.Join(err, e)
		a := xdp.Adjacency{}
		if ok {
			a = xdp.Adjacency{Ifindex: i.Index, To: to, From: xdp.MAC(i.HardwareAddr), MTU: uint16(min(i.MTU, 65535))}
		}
		whole = whole && ok
		known[h] = a
		return a
	}
	probed := map[xdp.Adjacency]bool{}
	probe := func(h TransitHop, a xdp.Adjacency) {
		if !a.IsZero() && h.SID != 0 && !probed[a] {
			probed[a] = true
			targets = append(targets, xdp.ProbeTarget{SID: uint16(h.SID), Adjacency: a})
		}
	}
	routes = []xdp.TransitRoute{}
	for _, r := range p.Routes {
		t := xdp.TransitRoute{SID: uint16(r.SID), Via: adjacency(r.Via), Backup: adjacency(r.Backup)}
		if t.Via.IsZero() {
			t.Via, t.Backup = t.Backup, xdp.Adjacency{}
		}
		if t.Via.IsZero() {
			continue
		}
		routes = append(routes, t)
		if r.Backup.Interface != "" { // without a choice an answer changes nothing
			probe(r.Via, adjacency(r.Via))
			probe(r.Backup, adjacency(r.Backup))
		}
	}
	return routes, targets, whole, err
}

// attach puts the program on a link, once, and remembers where it runs.
func (d *driver) attach(name string, i *net.Interface, source netip.Addr) error {
	if d.attached[name] == (ingress{i.Index, source}) {
		return nil
	}
	mode, err := d.transit.Attach(xdp.IngressOptions{Ifindex: i.Index, MAC: xdp.MAC(i.HardwareAddr), Source: source})
	if err != nil {
		d.say(name, "kernel ("+err.Error()+")")
		return err
	}
	d.attached[name] = ingress{i.Index, source}
	d.say(name, mode.String())
	return nil
}

// detachOthers takes the program off interfaces that are no links, or gone.
func (d *driver) detachOthers(links map[string]*net.Interface) error {
	var errs []error
	for _, index := range d.transit.Attached() {
		if !slices.ContainsFunc(slices.Collect(maps.Values(links)), func(i *net.Interface) bool { return i.Index == index }) {
			errs = append(errs, d.transit.Detach(index))
		}
	}
	for name := range d.attached {
		if links[name] == nil {
			delete(d.attached, name)
			d.say(name, "")
		}
	}
	return errors.Join(errs...)
}

func (d *driver) say(name, mode string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.modes[name] = mode; mode == "" {
		delete(d.modes, name)
	}
}

// obtained says where the program runs, and whether it outlives this process.
func (d *driver) obtained() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	by := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(d.modes)) {
		by[d.modes[name]] = append(by[d.modes[name]], name)
	}
	var parts []string
	for _, mode := range slices.Sorted(maps.Keys(by)) {
		parts = append(parts, mode+" on "+strings.Join(by[mode], ", "))
	}
	if len(parts) == 0 {
		parts = []string{"on no link yet"}
	}
	life := "goes on without this process"
	if d.unpinned != "" {
		life = "ends with this process: " + d.unpinned
	} else if d.transit.Adopted() {
		life += ", adopted from the one before"
	}
	return "XDP program, " + strings.Join(parts, "; ") + "; " + life + fmt.Sprintf("; reservations metered on their way: %d", len(d.meters))
}

// verdicts counts what became of the frames that the program saw, by name.
func (d *driver) verdicts() (map[string]uint64, error) {
	c, err := d.transit.Counts()
	if err != nil {
		return nil, err
	}
	out := map[string]uint64{}
	for i, n := range c {
		if n > 0 {
			out[xdp.Verdict(i).String()] = n
		}
	}
	return out, nil
}

// forwarded counts what was forwarded towards each SID that has a route.
func (d *driver) forwarded() ([]TransitCount, error) {
	d.mu.Lock()
	sids := d.sids
	d.mu.Unlock()
	out := make([]TransitCount, 0, len(sids))
	for _, sid := range sids {
		n, err := d.transit.Forwarded(uint16(sid))
		if err != nil {
			return nil, err
		}
		if n.Packets > 0 {
			out = append(out, TransitCount{sid, n.Packets, n.Bytes})
		}
	}
	return out, nil
}
