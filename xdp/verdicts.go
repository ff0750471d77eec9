package xdp

import (
	"fmt"

	"dssn/xdp/bpf"
)

// Verdict is what became of a frame that met the transit program: exactly one for
// each frame.
type Verdict uint32

// Verdicts is how many there are.
const Verdicts = int(bpf.TransitVerdictVERDICTS)

// verdictNames are stable: they are the names of metrics. A test holds them to the
// program's own enumeration.
var verdictNames = [Verdicts]string{
	"forwarded_shifted", "forwarded_plain", "forwarded_repaired", "to_socket",
	"kernel_not_ipv6", "kernel_no_ingress", "kernel_other_host", "kernel_other_vlan", "kernel_vlan_stacked",
	"kernel_not_carrier", "kernel_local", "kernel_hop_by_hop", "kernel_hop_limit", "kernel_too_big", "kernel_no_route",
	"dropped_truncated", "dropped_version", "dropped_source", "dropped_spoofed", "dropped_loop", "dropped_links_down",
	"dropped_policed", "dropped_no_port", "dropped_no_headroom",
}

// String returns the name: where the frame went, and why.
func (v Verdict) String() string {
	if int(v) < Verdicts {
		return verdictNames[v]
	}
	return fmt.Sprintf("verdict(%d)", uint32(v))
}

// Dropped says whether frames of this verdict went no further.
func (v Verdict) Dropped() bool { return v >= Verdict(bpf.TransitVerdictDROPPED_TRUNCATED) }

// VerdictCounts counts frames by verdict. Their sum is the frames that arrived.
type VerdictCounts [Verdicts]uint64

// Counts reads how many frames had each verdict, since the tables were made (not
// since the process began).
func (t *Transit) Counts() (c VerdictCounts, err error) {
	for i := range c {
		if c[i], err = sumPerCPU(t.objects.Verdicts, uint32(i)); err != nil {
			return c, fmt.Errorf("reading the transit counters: %w", err)
		}
	}
	return c, nil
}

// Of returns the count of a verdict by name; 0 for a name that is none.
func (c VerdictCounts) Of(name string) uint64 {
	for i, n := range verdictNames {
		if n == name {
			return c[i]
		}
	}
	return 0
}

// Total is the number of frames that arrived.
func (c VerdictCounts) Total() (n uint64) {
	for _, v := range c {
		n += v
	}
	return n
}

// Forwarded reads how many packets, and IPv6 bytes in them, were forwarded towards
// a SID.
func (t *Transit) Forwarded(sid uint16) (n Tally, err error) {
	var each []bpf.TransitTransitTally
	if err := t.objects.SidTallies.Lookup(uint32(sid), &each); err != nil {
		return n, fmt.Errorf("reading the counters of SID %x: %w", sid, err)
	}
	for _, v := range each {
		n.Packets += v.Packets
		n.Bytes += v.Bytes
	}
	return n, nil
}
