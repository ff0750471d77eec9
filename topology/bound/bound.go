// Package bound computes delay and backlog bounds of the assured class by network
// calculus, for admission to promise and for people to recompute by hand.
//
// Traffic of a flow is bounded by a token bucket: in any interval of length t it
// sends at most b + r·t bits (burst b, rate r). A hop serves it at least as a
// rate-latency server does: rate R after an initial latency T.
//
// Served at strict priority on a link of capacity C, among assured traffic of total
// burst B and rate ρ besides its own, and behind at most one packet of L bits of
// other classes already on the wire, a flow is left with
//
//	R = C - ρ      T = propagation + (B + L) / (C - ρ)
//
// (J.-Y. Le Boudec, P. Thiran, "Network Calculus", LNCS 2050, corollary 6.2.1 for
// blind multiplexing, theorem 6.2.2 and section 1.4.3 for the packet in service.)
//
// A path of hops is one rate-latency server with the least rate and the sum of the
// latencies (theorem 1.4.6, concatenation), so a burst is paid for once only:
//
//	delay   ≤ Σ T + b / min R
//	backlog ≤ b + r · Σ T        (theorems 1.4.1 and 1.4.2, if r ≤ min R)
//
// To this every hop that stores a packet before it forwards it adds the time of the largest
// packet of the flow, l / R (section 1.7.3, packetizers).
//
// Crossing traffic grows burstier hop by hop: behind a hop of latency T a flow's
// burst is b + r·T (theorem 1.4.3). Network adds that up along every path, and refuses
// where paths depend on each other in a circle.
//
// Pure functions, no state, any goroutine. Durations are rounded up to the next
// nanosecond and bits up to the next bit: a bound errs on the safe side.
package bound

import (
	"fmt"
	"math"
	"time"

	"dssn"
)

// Envelope bounds what a flow sends: at most Burst at once and Rate in the long run.
type Envelope struct {
	Rate  dssn.Bandwidth
	Burst dssn.ByteCount
	// Packet is the flow's largest packet; it is part of Burst.
	Packet dssn.ByteCount
}

// Hop is one link as the flow meets it.
type Hop struct {
	Capacity    dssn.Bandwidth
	Propagation time.Duration
	// CrossRate and CrossBurst sum up the other assured flows on the link, with the
	// bursts that they have when they arrive there.
	CrossRate  dssn.Bandwidth
	CrossBurst dssn.ByteCount
	// OtherPacket is the largest packet of any other class: one may be on the wire.
	OtherPacket dssn.ByteCount
	// CutThrough says that packets are forwarded before they have arrived whole.
	CutThrough bool
}

// Service is a rate-latency server.
type Service struct {
	Rate    dssn.Bandwidth
	Latency time.Duration
}

// Bounds is what can be promised.
type Bounds struct {
	Delay   time.Duration // end to end, of any bit
	Backlog dssn.ByteCount
	Service Service // the whole path as one server
}

// Service returns what the hop leaves to one flow. The error says that other
// assured traffic leaves nothing.
func (h Hop) Service() (Service, error) {
	if h.CrossRate >= h.Capacity {
		return Service{}, fmt.Errorf("other assured traffic of %s fills the capacity of %s: admit less or use another path", h.CrossRate, h.Capacity)
	}
	rate := h.Capacity - h.CrossRate
	wait := seconds(8*(float64(h.CrossBurst)+float64(h.OtherPacket)), rate)
	return Service{Rate: rate, Latency: h.Propagation + wait}, nil
}

// seconds is bits/rate, rounded up to a nanosecond; the float's own rounding is
// covered by another one.
func seconds(bits float64, rate dssn.Bandwidth) time.Duration {
	if bits == 0 {
		return 0
	}
	ns := math.Ceil(bits/float64(rate)*1e9*(1+1e-15)) + 1
	if ns > math.MaxInt64/4 {
		return math.MaxInt64 / 4
	}
	return time.Duration(ns)
}

// Path bounds the delay and the backlog of a flow over hops. The error names the
// hop that cannot carry it.
func Path(flow Envelope, hops []Hop) (Bounds, error) {
	if len(hops) == 0 {
		return Bounds{}, fmt.Errorf("bound of a path without hops: give at least one")
	}
	if flow.Packet > flow.Burst {
		return Bounds{}, fmt.Errorf("the largest packet of %s exceeds the burst of %s: a token bucket must hold a whole packet", flow.Packet, flow.Burst)
	}
	whole := Service{Rate: math.MaxUint64}
	for i, h := range hops {
		s, err := h.Service()
		if err != nil {
			return Bounds{}, fmt.Errorf("hop %d: %w", i+1, err)
		}
		if s.Rate < flow.Rate {
			return Bounds{}, fmt.Errorf("hop %d: %s is left, the flow sends %s: admit less or use another path", i+1, s.Rate, flow.Rate)
		}
		whole.Rate = min(whole.Rate, s.Rate)
		whole.Latency += s.Latency
		if !h.CutThrough {
			whole.Latency += seconds(8*float64(flow.Packet), s.Rate)
		}
	}
	return Bounds{
		Delay:   whole.Latency + seconds(8*float64(flow.Burst), whole.Rate),
		Backlog: flow.Burst + arrivals(flow.Rate, whole.Latency),
		Service: whole,
	}, nil
}

// arrivals is what rate sends in d, rounded up.
func arrivals(rate dssn.Bandwidth, d time.Duration) dssn.ByteCount {
	return dssn.ByteCount(math.Ceil(float64(rate) * d.Seconds() / 8 * (1 + 1e-12)))
}
