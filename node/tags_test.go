package node

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dssn"
	"dssn/controller/southbound"
	"dssn/xdp"

	"golang.org/x/sys/unix"
)

const (
	contract        = dssn.ReservationID(1) // from west to east
	contractTag     = 9
	contractCeiling = 8 * dssn.Mbps
	contractBurst   = 256 * dssn.KiB
)

// tag makes west's reservation a tagged contract, of which the given backbone nodes are
// told.
func (w *world) tag(hubs ...string) {
	for _, h := range w.hosts {
		for i := range h.a.Meters {
			if m := &h.a.Meters[i]; m.Reservation == contract {
				m.Class, m.Committed, m.Ceiling, m.Allocated, m.Burst = dssn.ClassElastic, contractCeiling, contractCeiling, contractCeiling, contractBurst
				if m.Ingress {
					m.Tag = contractTag
				}
			}
		}
		for i := range h.a.Neighbours {
			h.a.Neighbours[i].Terminal = w.hosts[h.a.Neighbours[i].Name].role == southbound.RoleTerminal
		}
		if slices.Contains(hubs, h.name) {
			h.a.Transit = []southbound.TransitMeter{{Reservation: contract, Tag: contractTag, Class: dssn.ClassElastic, Source: w.hosts["west"].sid,
				Committed: contractCeiling, Ceiling: contractCeiling, Burst: contractBurst}}
		}
		text, _ := json.Marshal(h.a)
		if err := os.WriteFile(filepath.Join(h.state, fileAssignment), text, 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
}

// seen is what a hub's program saw of the contract.
func (h *host) seen(t *testing.T) (c southbound.TransitCount) {
	for _, c := range h.status(t).Contracts {
		if c.Reservation == contract {
			return c
		}
	}
	return c
}

// sent is how many packets of the contract west's engine sent, as its counters say.
func (h *host) sent(t *testing.T) uint64 {
	for _, c := range h.status(t).Usage {
		if c.Reservation == contract {
			return c.SentPackets
		}
	}
	return 0
}

// inject sends frames out of a terminal's link beside its node program, as a terminal
// might that is not what it should be: count carriers to the other terminal from a
// source, with the contract's tag and class and size bytes as of inside packets.
func (w *world) inject(from, hub, to string, source netip.Addr, count uint64, size int) {
	w.t.Helper()
	h, link := w.hosts[from], "to-"+hub
	mac := func(h *host, link string) (m net.HardwareAddr) {
		if err := h.space.Do(func() error {
			i, err := net.InterfaceByName(link)
			if err == nil {
				m = i.HardwareAddr
			}
			return err
		}); err != nil {
			w.t.Fatal(err)
		}
		return m
	}
	hops := []dssn.SID{w.hosts["w"].sid, w.hosts["south"].sid, w.hosts["e"].sid, w.hosts[to].sid}
	if from == "east" {
		hops[0], hops[2] = hops[2], hops[0]
	}
	carrier, err := dssn.NewCarrier(dssn.LabBlock, hops...)
	if err != nil {
		w.t.Fatal(err)
	}
	f := make([]byte, 14+tunnelOverhead+size)
	copy(f, mac(w.hosts[hub], "to-"+from))
	copy(f[6:], mac(h, link))
	copy(f[12:], []byte{0x86, 0xdd})
	binary.BigEndian.PutUint32(f[14:], 6<<28|uint32(xdp.TrafficClass(uint8(dssn.ClassElastic)))<<20|contractTag)
	binary.BigEndian.PutUint16(f[18:], uint16(len(f)-54))
	f[20], f[21] = unix.IPPROTO_UDP, 64
	copy(f[22:], source.AsSlice())
	copy(f[38:], carrier.Addr().AsSlice())
	binary.BigEndian.PutUint16(f[54:], 9998)
	binary.BigEndian.PutUint16(f[56:], 9999)
	binary.BigEndian.PutUint16(f[58:], uint16(len(f)-54))
	if err := h.space.Do(func() error {
		i, err := net.InterfaceByName(link)
		if err != nil {
			return err
		}
		g, err := xdp.NewGenerator(i.Index, f)
		if err != nil {
			return err
		}
		defer g.Close()
		return g.Run(w.t.Context(), count, 50_000)
	}); err != nil {
		w.t.Fatal(err)
	}
}

// counted sends a few hundred packets of the contract by a path, and waits until each of
// its hops has counted as many as the edge sent, and the node beside it none. On a busy
// machine a hub may lose sight of a neighbour for a moment, and leave packets to the
// kernel meanwhile, which meters nothing: then it is tried again.
func (w *world) counted(s *stream, hub1, middle, hub2, beside string) (sent uint64) {
	t, west := w.t, w.hosts["west"]
	for try := 0; ; try++ {
		look := func() (n [5]uint64) {
			for i, name := range []string{hub1, middle, hub2, beside} {
				n[i] = w.hosts[name].seen(t).Packets
			}
			n[4] = west.sent(t)
			return n
		}
		settled := func() (n [5]uint64) {
			s.pause(true)
			for quiet := 0; quiet < 30; quiet++ { // the edge's counts are a second old
				time.Sleep(50 * time.Millisecond)
				if now := look(); now != n {
					n, quiet = now, 0
				}
			}
			return n
		}
		before := settled()
		s.pause(false)
		s.flows(t, 200)
		n := settled()
		for i := range n {
			n[i] -= before[i]
		}
		if n[0] == n[4] && n[1] == n[4] && n[2] == n[4] && n[3] == 0 && n[4] >= 200 {
			return n[4]
		}
		if try == 4 {
			t.Fatalf("the edge sent %d packets; %s counted %d, %s %d, %s %d, and %s, on no path in use, %d", n[4], hub1, n[0], middle, n[1], hub2, n[2], beside, n[3])
		}
		t.Logf("disturbed: %v", n)
	}
}

func TestAReservationIsMeteredAtEveryHop(t *testing.T) {
	w := newWorld(t)
	w.driven()
	w.tag("w", "north", "south", "e")
	w.startDriven()
	west, east := w.hosts["west"], w.hosts["east"]
	eventually(t, "the allocated path", func() bool { return west.using(t) == "north" && east.using(t) == "north" })
	for name, links := range map[string]string{"w": "to-north, to-south, to-west", "north": "to-e, to-w", "south": "to-e, to-w", "e": "to-east, to-north, to-south"} {
		eventually(t, name+" metering the contract on all its links", func() bool {
			s := w.hosts[name].status(t)
			return strings.Contains(s.Obtained["transit"], "native on "+links+";") && strings.HasSuffix(s.Obtained["transit"], "metered on their way: 1") && len(s.Forwarded) > 0
		})
	}
	s := startStream(t, west, east)
	all := func(name string) uint64 { return w.hosts[name].seen(t).Packets }
	first := w.counted(s, "w", "north", "e", "south")

	// Another path: its hops meter, those left behind do not.
	w.hosts["north"].space.IP(t, "link set to-w down")
	eventually(t, "traffic by the other path", func() bool { return west.using(t) == "south" && east.using(t) == "south" })
	w.counted(s, "w", "south", "e", "north")

	// An edge that sends more than its contract's ceiling is cut to it at its hub.
	before, behind := w.hosts["w"].seen(t), all("south")
	began := time.Now()
	w.inject("west", "w", "east", west.sid.Node(dssn.LabBlock), 8000, 1000)
	took := time.Since(began)
	after := w.hosts["w"].seen(t)
	count, policed := after.Packets-before.Packets, after.PolicedPackets-before.PolicedPackets
	if count != 8000 {
		t.Errorf("the hub counted %d of 8000 packets", count)
	}
	allowed := float64(contractBurst + contractCeiling.BytesIn(took+2*transitSlack))
	if passed := float64(count-policed) * 1000; passed > allowed || policed == 0 {
		t.Errorf("%.0f inside bytes passed the hub and %d packets were dropped; %.0f bytes are allowed", passed, policed, allowed)
	}
	if n := all("south") - behind; n != count-policed {
		t.Errorf("%d packets passed the hub, and %d came to the next", count-policed, n)
	}
	if n := w.hosts["w"].status(t).Transit["dropped_policed"]; n != after.PolicedPackets {
		t.Errorf("the hub dropped %d frames as policed, and %d of the contract", n, after.PolicedPackets)
	}

	// Another edge with the tag takes nothing from the contract, with its own address or
	// with that of the contract's edge, which its hub does not let in.
	e := w.hosts["e"]
	had := e.seen(t)
	w.inject("east", "e", "west", east.sid.Node(dssn.LabBlock), 300, 1000)
	if got := e.seen(t); got.ForeignPackets-had.ForeignPackets != 300 || got.Packets != had.Packets {
		t.Errorf("300 packets of another edge with the tag: counted %+v, before %+v", got, had)
	}
	w.inject("east", "e", "west", west.sid.Node(dssn.LabBlock), 200, 1000)
	if got, n := e.seen(t), e.status(t).Transit["dropped_spoofed"]; n != 200 || got.Packets != had.Packets {
		t.Errorf("200 packets with another edge's address: %d dropped as spoofed; counted %+v, before %+v", n, got, had)
	}
	fmt.Fprintf(t.Output(), "%d packets counted at each hop, %d of %d above the ceiling dropped\n", first, policed, count)
}

func TestAContractsMarkIsItsTagAndClass(t *testing.T) {
	m := southbound.Meter{Tag: 4095, Class: dssn.ClassAssured, Ingress: true}
	if got := markOf(m); got.Class() != 46<<2 || got.Label() != 4095 {
		t.Errorf("class %#x and label %d", got.Class(), got.Label())
	}
	m.Ingress = false
	if got := markOf(m); got != 0 {
		t.Errorf("where it leaves the network it is marked %#x", uint32(got))
	}
}
