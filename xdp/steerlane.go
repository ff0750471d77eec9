package xdp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"dssn/xdp/bpf"

	"github.com/cilium/ebpf"
)

// SetLane makes UDP packets to dst that come from this source port travel by
// carrier instead of the one that Set gave dst: the lanes of a tunnel are told apart
// so, and each may have its own path. It has an effect only while dst has a
// carrier. The first hop is the one of the host's route to dst.
func (s *Steer) SetLane(dst netip.Addr, sport uint16, carrier netip.Addr) error {
	if !isIPv6(dst) || !isIPv6(carrier) {
		return fmt.Errorf("steering port %d to %s by %s: both must be plain IPv6 addresses", sport, dst, carrier)
	}
	key, to := laneKey(dst, sport), bpf.SteerAddr6{B: carrier.As16()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.objects.Lanes.Put(&key, &to); err != nil {
		return fmt.Errorf("steering port %d to %s by %s: %w", sport, dst, carrier, err)
	}
	if s.lanes[dst] == nil {
		s.lanes[dst] = map[uint16]bool{}
	}
	s.lanes[dst][sport] = true
	return s.markLocked(dst)
}

// DeleteLane undoes SetLane; an unknown lane is no error.
func (s *Steer) DeleteLane(dst netip.Addr, sport uint16) error {
	if !isIPv6(dst) {
		return fmt.Errorf("no longer steering port %d to %s: not a plain IPv6 address", sport, dst)
	}
	key := laneKey(dst, sport)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.objects.Lanes.Delete(&key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("no longer steering port %d to %s: %w", sport, dst, err)
	}
	if delete(s.lanes[dst], sport); len(s.lanes[dst]) == 0 {
		delete(s.lanes, dst)
	}
	return s.markLocked(dst)
}

func laneKey(dst netip.Addr, sport uint16) bpf.SteerSteerLane {
	return bpf.SteerSteerLane{Dst: bpf.SteerAddr6{B: dst.As16()}, Sport: uint32(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, sport)))}
}

// markLocked tells dst's entry, if there is one, whether lanes are to be looked
// for: packets to others then cost no second lookup.
func (s *Steer) markLocked(dst netip.Addr) error {
	key := bpf.SteerSteerKey{Dst: bpf.SteerAddr6{B: dst.As16()}}
	var to bpf.SteerSteerTo
	if err := s.objects.Carriers.Lookup(&key, &to); err != nil {
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil
		}
		return fmt.Errorf("steering %s: %w", dst, err)
	}
	if want := s.marked(dst); to.Lanes != want {
		to.Lanes = want
		if err := s.objects.Carriers.Put(&key, &to); err != nil {
			return fmt.Errorf("steering %s: %w", dst, err)
		}
	}
	return nil
}

// marked is what dst's entry says of lanes.
func (s *Steer) marked(dst netip.Addr) uint32 {
	if len(s.lanes[dst]) > 0 {
		return 1
	}
	return 0
}
