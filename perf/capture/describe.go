package capture

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"dssn"
)

// Describer says what frames are. The zero value knows no names.
type Describer struct {
	// Blocks are the locator blocks of carriers; empty means the lab's.
	Blocks []netip.Prefix
	// Name returns the node that a SID stands for, or nothing.
	Name func(dssn.SID) string
}

// Describe returns one line about an Ethernet frame: who to whom, the carrier
// that steers it, and what is inside.
func (d Describer) Describe(frame []byte) string {
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.DecodeOptions{NoCopy: true})
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	for _, l := range p.Layers() {
		switch l := l.(type) {
		case *layers.Ethernet:
			if p.NetworkLayer() == nil {
				add("%v → %v, %v", l.SrcMAC, l.DstMAC, l.EthernetType)
			}
		case *layers.ARP:
			from, _ := netip.AddrFromSlice(l.SourceProtAddress)
			about, _ := netip.AddrFromSlice(l.DstProtAddress)
			add("ARP operation %d from %v about %v", l.Operation, from, about)
		case *layers.IPv4:
			add("%v → %v", l.SrcIP, l.DstIP)
		case *layers.IPv6:
			src, _ := netip.AddrFromSlice(l.SrcIP)
			dst, _ := netip.AddrFromSlice(l.DstIP)
			add("%v → %v, hop limit %d", src, dst, l.HopLimit)
			if c := d.carrier(dst); c != "" {
				add("%s", c)
			}
		case *layers.IPv6Routing:
			add("routing header type %d, %d segments left", l.RoutingType, l.SegmentsLeft)
		case *layers.UDP:
			add("UDP %d → %d", l.SrcPort, l.DstPort)
			if w, ok := ParseWireGuard(l.Payload); ok {
				add("%v", w)
			} else {
				add("%d bytes", len(l.Payload))
			}
		case *layers.TCP:
			add("TCP %d → %d %s, seq %d, ack %d, window %d, %d bytes", l.SrcPort, l.DstPort, tcpFlags(l), l.Seq, l.Ack, l.Window, len(l.Payload))
		case *layers.ICMPv6:
			add("ICMPv6 %v", l.TypeCode)
		case *layers.ICMPv4:
			add("ICMP %v", l.TypeCode)
		}
	}
	if e := p.ErrorLayer(); e != nil {
		why, _, _ := strings.Cut(e.Error().Error(), "\n") // a recovered panic has a stack behind it
		add("cannot be read further: %s", why)
	}
	return strings.Join(parts, "; ")
}

// carrier says which nodes a destination address still leads through.
func (d Describer) carrier(dst netip.Addr) string {
	blocks := d.Blocks
	if len(blocks) == 0 {
		blocks = []netip.Prefix{dssn.LabBlock}
	}
	for _, b := range blocks {
		if !b.Contains(dst) {
			continue
		}
		c, err := dssn.ParseCarrier(dst.String())
		if err != nil {
			return "in the locator block, but no carrier: " + err.Error()
		}
		var path []string
		for _, s := range c.SIDs() {
			hop := s.String()
			if d.Name != nil {
				if n := d.Name(s); n != "" {
					hop = n + "(" + hop + ")"
				}
			}
			path = append(path, hop)
		}
		kind := "carrier through "
		if len(path) == 1 {
			kind = "last SID "
		}
		return "NEXT-CSID " + kind + strings.Join(path, " → ")
	}
	return ""
}

func tcpFlags(t *layers.TCP) string {
	var b strings.Builder
	for _, f := range []struct {
		set  bool
		name string
	}{{t.SYN, "SYN"}, {t.FIN, "FIN"}, {t.RST, "RST"}, {t.PSH, "PSH"}, {t.ACK, "ACK"}, {t.URG, "URG"}, {t.ECE, "ECE"}, {t.CWR, "CWR"}} {
		if f.set {
			if b.Len() > 0 {
				b.WriteByte(',')
			}
			b.WriteString(f.name)
		}
	}
	return b.String()
}
