package xdp

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"dssn/xdp/bpf"

	"github.com/cilium/ebpf/link"
)

// Director directs frames that arrive on one interface to AF_XDP sockets, by
// queue: everything, or what goes to certain UDP ports or IPv6 prefixes; the rest
// stays the kernel's. It ends with the process. Methods may be called
// concurrently, Close last.
type Director struct {
	objects bpf.DirectObjects
	link    link.Link
	mode    AttachMode

	choosing sync.Mutex // guards what follows
	ports    map[uint16]Lead
	prefixes map[netip.Prefix]Lead
}

// DirectorOptions chooses what is directed. Nothing chosen directs nothing.
type DirectorOptions struct {
	Ifindex int
	// All directs every frame; the kernel then gets none from a queue with a socket.
	All bool
	// Ports are UDP destination ports, under IPv6 without extension headers.
	Ports []uint16
	// Prefixes are IPv6 destinations, of all protocols but ICMPv6.
	Prefixes []netip.Prefix
	// Changing allows Choose to change the choice; it costs each IPv6 packet a
	// lookup even while there are no prefixes.
	Changing bool
	Attach   AttachMode
}

// DirectorCounters counts frames since the Director was made.
type DirectorCounters struct {
	ToSocket   uint64 // handed to a socket (which may still have had no room)
	NoMatch    uint64 // left to the kernel: not chosen
	NoSocket   uint64 // left to the kernel: chosen, but its queue has no socket
	OtherQueue uint64 // left to the kernel: chosen for the socket of another queue
}

// NewDirector loads the program and attaches it.
func NewDirector(o DirectorOptions) (*Director, error) {
	spec, err := bpf.LoadDirect()
	if err != nil {
		return nil, fmt.Errorf("reading the directing program: %w", err)
	}
	flag := func(name string, on bool) {
		if on && err == nil {
			err = spec.Variables[name].Set(uint32(1))
		}
	}
	flag("direct_all", o.All)
	flag("direct_by_prefix", len(o.Prefixes) > 0 || o.Changing)
	if err != nil {
		return nil, fmt.Errorf("setting up the directing program: %w", err)
	}
	d := &Director{}
	if err := spec.LoadAndAssign(&d.objects, nil); err != nil {
		return nil, explain("loading the directing program", err)
	}
	ports, prefixes := map[uint16]Lead{}, map[netip.Prefix]Lead{}
	for _, p := range o.Ports {
		ports[p] = AnyQueue
	}
	for _, p := range o.Prefixes {
		prefixes[p] = AnyQueue
	}
	if err := d.Choose(ports, prefixes); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if d.link, d.mode, err = attachXDP(d.objects.Direct, o.Ifindex, o.Attach); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Attached says where the program runs: native or generic.
func (d *Director) Attached() AttachMode { return d.mode }

// Add directs a queue's frames to a socket opened with Open on that queue.
func (d *Director) Add(queue int, s *Socket) error {
	return addSocket(d.objects.Sockets, queue, s)
}

// Remove leaves a queue's frames to the kernel again.
func (d *Director) Remove(queue int) error { return removeSocket(d.objects.Sockets, queue) }

// Counters sums the counters of all CPUs.
func (d *Director) Counters() (c DirectorCounters, err error) {
	for i, n := range []*uint64{&c.ToSocket, &c.NoMatch, &c.NoSocket, &c.OtherQueue} {
		if *n, err = sumPerCPU(d.objects.DirectCounts, uint32(i)); err != nil {
			return c, fmt.Errorf("reading the directing counters: %w", err)
		}
	}
	return c, nil
}

// Close detaches; all frames are the kernel's again.
func (d *Director) Close() error {
	var err error
	if d.link != nil {
		err = d.link.Close()
	}
	return errors.Join(err, d.objects.Close())
}
