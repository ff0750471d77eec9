package xdp

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"

	"dssn/xdp/bpf"
)

// TransitMeter counts and polices one reservation's traffic of one class. Packets
// carry the reservation as a tag, the IPv6 flow label, and the class as DSCP
// (TrafficClass); neither is covered by a checksum. Tags are drawn by the
// controller for the time of a reservation; tag 0 and those beyond MaxTag are not
// metered, nor are tags without a meter.
type TransitMeter struct {
	Tag   uint32
	Class uint8 // 0 background, 1 bulk, 2 elastic, 3 assured: dssn.Class
	// BitsPerSecond and BurstBytes are the token bucket, counting IPv6 bytes from
	// the header on. At least 8000 bit/s and one packet of 9216 bytes are allowed.
	BitsPerSecond uint64
	BurstBytes    uint64
	Excess        TransitExcess
	// Source, if valid, is the address of the edge that the tag belongs to, of which
	// the first 64 bits count. Packets with the tag from elsewhere are counted
	// (TransitUsage.Foreign) and forwarded unmetered: they take nothing from its rate.
	Source netip.Addr
	// OverheadBytes of each packet are not policed: headers that the edge adds to
	// what it polices itself.
	OverheadBytes uint16
	// Owner says whose the tag is, to whoever adopts the transit: with another owner a
	// meter begins anew. It is not looked at otherwise.
	Owner uint64
}

// TransitExcess says what becomes of packets above a meter's rate.
type TransitExcess uint32

// In the order of enum meter_action.
const (
	ExcessDrop TransitExcess = iota
	// ExcessRemark sends them on as scavenger traffic (DSCP LE, RFC 8622).
	ExcessRemark
	// ExcessCount only counts: the meter does not police.
	ExcessCount
)

// MaxTag is the greatest tag that can be metered.
const MaxTag = 4095

const transitClasses = 4

// trafficClassLE is RFC 8622's lower-effort traffic class.
const trafficClassLE = 1 << 2

// TrafficClass is the traffic class byte that stands for a class: DSCP default,
// AF11, AF31 and EF for background, bulk, elastic and assured.
func TrafficClass(class uint8) uint8 {
	return [transitClasses]uint8{0, 10 << 2, 26 << 2, 46 << 2}[class%transitClasses]
}

// TransitUsage is what a meter counted, of packets that reached it.
type TransitUsage struct {
	Packets, Bytes         uint64 // all
	OverPackets, OverBytes uint64 // those above the rate
	Foreign                uint64 // packets with the tag that were not its owner's, not in the above
}

type meterKey struct {
	tag   uint32
	class uint8
}

func (k meterKey) index() uint32 { return k.tag*transitClasses + uint32(k.class) }

type meterValues struct {
	cost, burst, source, owner uint64
	lease                      uint32
	overhead                   uint16
	action                     TransitExcess
}

// leaseBytes are what a CPU draws from a policer ahead, so that the clock and the shared
// word are touched once in a dozen packets.
const leaseBytes = 16 << 10

// values turns rate and burst into the program's ticks of 1/64 ns.
func (m TransitMeter) values() meterValues {
	const ticksPerSecond = 64e9
	const minimumRate, minimumBurst, maximumBurst = 8000, 9216, 1 << 33
	rate := max(m.BitsPerSecond, minimumRate)
	// cost = ticks per byte × 2^20 = 64e9 × 8 × 2^20 / rate, rounded down: a
	// packet never costs more than it should.
	hi, lo := bits.Mul64(ticksPerSecond*8, 1<<20)
	cost, _ := bits.Div64(hi, lo, rate)
	burst := min(max(m.BurstBytes, minimumBurst), maximumBurst)
	// What CPUs have drawn ahead is part of the burst, so that no interval has more. A
	// burst of which that were more than a sixteenth is not lent from.
	lease := uint32(0)
	if ahead := leaseBytes * uint64(possibleCPUs()); ahead <= burst/16 {
		lease, burst = leaseBytes, burst-ahead
	}
	hi, lo = bits.Mul64(burst, cost)
	ticks := uint64(1 << 62)
	if hi < 1<<18 {
		ticks = min(ticks, hi<<44|lo>>20)
	}
	v := meterValues{cost: max(cost, 1), burst: ticks, owner: m.Owner, lease: lease, overhead: m.OverheadBytes, action: m.Excess}
	if m.Source.IsValid() {
		v.source = firstHalf(m.Source)
	}
	return v
}

// firstHalf is an address's first 64 bits as the program reads them.
func firstHalf(a netip.Addr) uint64 {
	b := a.As16()
	return binary.NativeEndian.Uint64(b[:])
}

// SetMeters sets all meters at once; those not named end. A meter that stays as it
// was keeps its bucket's level, and every meter keeps its counts until its tag is
// used for another reservation: read TransitUsage before that.
func (t *Transit) SetMeters(meters []TransitMeter) error {
	t.setting.Lock()
	defer t.setting.Unlock()
	want := make(map[meterKey]meterValues, len(meters))
	for _, m := range meters {
		if m.Tag == 0 || m.Tag > MaxTag || m.Class >= transitClasses {
			return fmt.Errorf("a meter for tag %d, class %d: tags are 1 to %d and classes 0 to %d", m.Tag, m.Class, MaxTag, transitClasses-1)
		}
		want[meterKey{m.Tag, m.Class}] = m.values()
	}
	var errs []error
	for k, v := range want {
		if t.meters[k] != v {
			old, known := t.meters[k]
			errs = append(errs, t.putMeter(k, v, known && old.owner == v.owner))
		}
	}
	for k := range t.meters {
		if _, ok := want[k]; !ok {
			errs = append(errs, t.putMeter(k, meterValues{}, true))
		}
	}
	t.meters = want
	return errors.Join(errs...)
}

func (t *Transit) putMeter(k meterKey, v meterValues, known bool) error {
	if !known {
		// A reservation of its own begins: its counts begin at zero.
		zero := make([]bpf.TransitTransitUsage, possibleCPUs())
		if err := t.objects.Usage.Put(k.index(), zero); err != nil {
			return fmt.Errorf("clearing the counts of tag %d: %w", k.tag, err)
		}
	}
	m := bpf.TransitTransitMeter{Cost: v.cost, Burst: v.burst, Source: v.source, Owner: v.owner, Lease: v.lease, Overhead: v.overhead, Action: uint8(v.action), Remark: trafficClassLE}
	if err := t.objects.Meters.Put(k.index(), &m); err != nil {
		return fmt.Errorf("setting the meter of tag %d: %w", k.tag, err)
	}
	return nil
}

func (t *Transit) recallMeters() error {
	var index uint32
	var m bpf.TransitTransitMeter
	it := t.objects.Meters.Iterate()
	for it.Next(&index, &m) {
		if m.Cost != 0 {
			t.meters[meterKey{index / transitClasses, uint8(index % transitClasses)}] = meterValues{m.Cost, m.Burst, m.Source, m.Owner, m.Lease, m.Overhead, TransitExcess(m.Action)}
		}
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("adopting the meters: %w", err)
	}
	return nil
}

// Meters lists the meters in force, also those that a process before this one set, with
// what Usage is asked by: tag, class and owner.
func (t *Transit) Meters() (out []TransitMeter) {
	t.setting.Lock()
	defer t.setting.Unlock()
	for k, v := range t.meters {
		out = append(out, TransitMeter{Tag: k.tag, Class: k.class, Owner: v.owner, OverheadBytes: v.overhead, Excess: v.action})
	}
	slices.SortFunc(out, func(a, b TransitMeter) int {
		return cmp.Or(cmp.Compare(a.Tag, b.Tag), cmp.Compare(a.Class, b.Class))
	})
	return out
}

// Usage reads one meter's counts.
func (t *Transit) Usage(tag uint32, class uint8) (u TransitUsage, err error) {
	var each []bpf.TransitTransitUsage
	if err := t.objects.Usage.Lookup(meterKey{tag, class}.index(), &each); err != nil {
		return u, fmt.Errorf("reading the counts of tag %d: %w", tag, err)
	}
	for _, v := range each {
		u.Packets += v.Packets
		u.Bytes += v.Bytes
		u.OverPackets += v.OverPackets
		u.OverBytes += v.OverBytes
		u.Foreign += v.Foreign
	}
	return u, nil
}
