package xdp

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"dssn/xdp/bpf"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// Steer rewrites, below the socket, the IPv6 destination of packets that leave
// an interface: a destination found in its table {node address → carrier} is
// replaced by the carrier. Checksums are left alone on purpose, because the UDP
// checksum covers the final destination (RFC 9800 §6.5); half-finished checksums
// and segmentation offload stay right for the same reason.
//
// One Steer may serve several interfaces with one table. It lives as long as the
// process: nothing is pinned, so the kernel removes it when the process ends in
// any way. All methods may be called concurrently.
type Steer struct {
	objects bpf.SteerObjects

	mu    sync.Mutex                     // guards what follows, and entries being changed
	links map[int]link.Link              // by interface index; nil after Close
	lanes map[netip.Addr]map[uint16]bool // source ports with a carrier of their own
}

// SteerOptions chooses what a Steer touches. The zero value is the usual choice.
type SteerOptions struct {
	// AllProtocols steers every packet to a key, not only UDP (and fragments of
	// UDP). Use it where TCP or ICMP to a node's address should take the path
	// too.
	AllProtocols bool
}

// SteerCounters counts what happened to packets leaving the attached interfaces,
// since the Steer was made. A segmentation-offload packet counts once.
type SteerCounters struct {
	Steered    Tally // destination replaced by the carrier
	SteeredVia Tally // replaced, and sent out towards another first hop
	NotUDP     Tally // destination known, protocol not to be steered
	NoCarrier  Tally // IPv6, destination not in the table
	NotIPv6    Tally // any other protocol
	TooShort   Tally // headers incomplete
}

// Tally is a number of packets and the bytes in them, link headers included.
type Tally struct{ Packets, Bytes uint64 }

// NewSteer loads the program with an empty table of up to 65,536 entries. It
// needs CAP_BPF and CAP_NET_ADMIN; attach it with Attach.
func NewSteer(o SteerOptions) (*Steer, error) {
	spec, err := bpf.LoadSteer()
	if err != nil {
		return nil, fmt.Errorf("reading the steering program: %w", err)
	}
	if o.AllProtocols {
		if err := spec.Variables["steer_all"].Set(uint32(1)); err != nil {
			return nil, fmt.Errorf("setting up the steering program: %w", err)
		}
	}
	s := &Steer{links: make(map[int]link.Link), lanes: make(map[netip.Addr]map[uint16]bool)}
	if err := spec.LoadAndAssign(&s.objects, nil); err != nil {
		return nil, explain("loading the steering program", err)
	}
	return s, nil
}

// AttachSteer is NewSteer with the usual options, attached to one interface.
func AttachSteer(ifindex int) (*Steer, error) {
	s, err := NewSteer(SteerOptions{})
	if err != nil {
		return nil, err
	}
	if err := s.Attach(ifindex); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Attach puts the program on the egress side of an interface of the caller's
// network namespace, before the programs that are there already (TCX, kernel
// 6.6). Attaching twice is one attachment.
func (s *Steer) Attach(ifindex int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.links == nil {
		return fmt.Errorf("attaching steering to interface %d: %w", ifindex, errClosed)
	}
	if s.links[ifindex] != nil {
		return nil
	}
	l, err := link.AttachTCX(link.TCXOptions{
		Interface: ifindex,
		Program:   s.objects.Steer,
		Attach:    ebpf.AttachTCXEgress,
		Anchor:    link.Head(),
	})
	if err != nil {
		return explain(fmt.Sprintf("attaching steering to the egress of interface %d", ifindex), err)
	}
	s.links[ifindex] = l
	return nil
}

// Detach takes the program off one interface; an interface it is not on is no
// error.
func (s *Steer) Detach(ifindex int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.links[ifindex]
	if l == nil {
		return nil
	}
	delete(s.links, ifindex)
	return l.Close()
}

// Set makes packets to dst travel by carrier, leaving by the route and first hop
// that the host has for dst. It replaces what was set for dst before, at once.
func (s *Steer) Set(dst, carrier netip.Addr) error {
	return s.SetVia(dst, carrier, 0, netip.Addr{})
}

// SetVia is Set with the first hop named: the packet leaves by interface ifindex,
// whatever route the host has for dst. It is needed when the path leaves the
// shortest one at its very first hop. With an invalid nexthop the host's route to
// the carrier by that interface says who the first hop is. A nexthop, an address
// on that link, needs no route, but packets are lost while its link-layer address
// is being resolved (the kernel would send them by the old route; they go
// nowhere). With ifindex 0 it is Set.
func (s *Steer) SetVia(dst, carrier netip.Addr, ifindex int, nexthop netip.Addr) error {
	if !isIPv6(dst) || !isIPv6(carrier) {
		return fmt.Errorf("steering %s by %s: both must be plain IPv6 addresses", dst, carrier)
	}
	if dst == carrier {
		return s.Delete(dst)
	}
	to := bpf.SteerSteerTo{}
	to.Carrier.B = carrier.As16()
	if ifindex != 0 {
		to.Ifindex = uint32(ifindex)
		if nexthop.IsValid() {
			if !isIPv6(nexthop.WithZone("")) {
				return fmt.Errorf("steering %s by %s: first hop %s must be an IPv6 address", dst, carrier, nexthop)
			}
			to.Nexthop = words(nexthop)
		}
	}
	key := bpf.SteerSteerKey{}
	key.Dst.B = dst.As16()
	s.mu.Lock()
	defer s.mu.Unlock()
	to.Lanes = s.marked(dst)
	if err := s.objects.Carriers.Put(&key, &to); err != nil {
		return fmt.Errorf("steering %s by %s: %w", dst, carrier, err)
	}
	return nil
}

// Delete makes packets to dst go out as they are. An unknown dst is no error.
func (s *Steer) Delete(dst netip.Addr) error {
	if !isIPv6(dst) {
		return fmt.Errorf("no longer steering %s: not a plain IPv6 address", dst)
	}
	key := bpf.SteerSteerKey{}
	key.Dst.B = dst.As16()
	if err := s.objects.Carriers.Delete(&key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("no longer steering %s: %w", dst, err)
	}
	return nil
}

// Counters sums the counters of all CPUs.
func (s *Steer) Counters() (SteerCounters, error) {
	var c SteerCounters
	// In the order of enum steer_count.
	for i, t := range []*Tally{&c.Steered, &c.SteeredVia, &c.NotUDP, &c.NoCarrier, &c.NotIPv6, &c.TooShort} {
		var perCPU []bpf.SteerSteerTally
		if err := s.objects.Tallies.Lookup(uint32(i), &perCPU); err != nil {
			return SteerCounters{}, fmt.Errorf("reading the steering counters: %w", err)
		}
		for _, v := range perCPU {
			t.Packets += v.Packets
			t.Bytes += v.Bytes
		}
	}
	return c, nil
}

// Close detaches from every interface and frees the table. Calling it again is
// harmless.
func (s *Steer) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.links == nil {
		return nil
	}
	var errs []error
	for _, l := range s.links {
		errs = append(errs, l.Close())
	}
	s.links = nil
	errs = append(errs, s.objects.Close())
	return errors.Join(errs...)
}
