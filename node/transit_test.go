package node

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"dssn"
	"dssn/internal/need"
	"dssn/xdp"

	"golang.org/x/sys/unix"
)

// needPins skips without a BPF file system where nodes pin their transit.
func needPins(t *testing.T) {
	var fs unix.Statfs_t
	err := unix.Statfs("/sys/fs/bpf", &fs)
	if err == nil && fs.Type != unix.BPF_FS_MAGIC {
		err = fmt.Errorf("/sys/fs/bpf is none")
	}
	need.Kernel(t, "BPF file system", err)
}

// driven prepares a world whose hubs forward in the driver: veth's ends receive what
// is redirected to them only if they poll (GRO), and what a program forwards must
// carry finished checksums.
func (w *world) driven() {
	need.Tool(w.t, "ethtool")
	needPins(w.t)
	for _, h := range w.hosts {
		for _, l := range w.worldT.links {
			for i, end := range l {
				if end != h.name {
					continue
				}
				if out, err := h.space.Run("ethtool", "-K", "to-"+l[1-i], "gro", "on", "tx", "off"); err != nil {
					w.t.Fatalf("prepare a link of %s: %v %s", h.name, err, out)
				}
			}
		}
		w.t.Cleanup(func() {
			if _, err := RemoveTransit(h.state); err != nil {
				w.t.Errorf("remove the transit of %s: %v", h.name, err)
			}
		})
	}
}

// startDriven starts every host, the hubs with transit in the driver.
func (w *world) startDriven() {
	for _, h := range w.hosts {
		h.start(w.t, "DSSN_TEST_TRANSIT=xdp")
	}
}

func (h *host) pins() string { return pinDir(h.id) }

func (h *host) status(t *testing.T) (s Status) {
	if err := h.get("/local/status", &s); err != nil {
		return Status{}
	}
	return s
}

// load sends carriers from west's link, by way of w, north and e, to east's address,
// where a socket counts them. It returns how many were sent and how many came.
func (w *world) load(count, rate uint64) (result func() (sent, received uint64)) {
	t, west, east := w.t, w.hosts["west"], w.hosts["east"]
	carrier, err := dssn.NewCarrier(dssn.LabBlock, w.hosts["w"].sid, w.hosts["north"].sid, w.hosts["e"].sid, east.sid)
	if err != nil {
		t.Fatal(err)
	}
	var in *net.UDPConn
	err = east.space.Do(func() (err error) {
		if in, err = net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6unspecified, Port: 9999}); err != nil {
			return err
		}
		raw, err := in.SyscallConn()
		if err != nil {
			return err
		}
		return raw.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 256<<20)
			unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_NO_CHECK6_RX, 1)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	mac := func(h *host, link string) (m net.HardwareAddr) {
		err := h.space.Do(func() error {
			i, err := net.InterfaceByName(link)
			if err == nil {
				m = i.HardwareAddr
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	f := make([]byte, 14+40+8+32)
	copy(f, mac(w.hosts["w"], "to-west"))
	copy(f[6:], mac(west, "to-w"))
	copy(f[12:], []byte{0x86, 0xdd, 0x60, 0, 0, 0, 0, 40, unix.IPPROTO_UDP, 64})
	copy(f[22:], west.sid.Node(dssn.LabBlock).AsSlice())
	copy(f[38:], carrier.Addr().AsSlice())
	binary.BigEndian.PutUint16(f[54:], 9998)
	binary.BigEndian.PutUint16(f[56:], 9999)
	binary.BigEndian.PutUint16(f[58:], 40)
	var g *xdp.Generator
	err = west.space.Do(func() error {
		i, err := net.InterfaceByName("to-w")
		if err != nil {
			return err
		}
		g, err = xdp.NewGenerator(i.Index, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); g.Close() })
	var received atomic.Uint64
	counted := make(chan struct{})
	go func() {
		defer close(counted)
		b := make([]byte, 64)
		for {
			if _, err := in.Read(b); err != nil {
				return
			}
			received.Add(1)
		}
	}()
	done := make(chan error, 1)
	go func() {
		done <- west.space.Do(func() error { return g.Run(t.Context(), count, rate) })
	}()
	return func() (uint64, uint64) {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		sent, err := g.Sent()
		if err != nil {
			t.Fatal(err)
		}
		// What is on the way, or waits in the socket for a reader that is slower than it
		// came: until all is there, or nothing has come for a while.
		for last, quiet := uint64(0), 0; received.Load() < sent && quiet < 100; quiet++ {
			time.Sleep(10 * time.Millisecond)
			if n := received.Load(); n != last {
				last, quiet = n, 0
			}
		}
		in.Close()
		<-counted
		return sent, received.Load()
	}
}

func TestTransitInTheDriverOutlivesItsProcess(t *testing.T) {
	w := newWorld(t)
	w.driven()
	w.startDriven()
	west, east, hub := w.hosts["west"], w.hosts["east"], w.hosts["north"]
	eventually(t, "the allocated path", func() bool { return west.using(t) == "north" && east.using(t) == "north" })
	hubs := []string{"w", "north", "e"}
	for _, name := range hubs {
		eventually(t, name+" with both its links in the driver", func() bool {
			s := w.hosts[name].status(t)
			return strings.Contains(s.Obtained["transit"], "native on to-") && s.Transit["forwarded_shifted"] > 0
		})
	}
	if got := west.status(t).Obtained["transit"]; strings.Contains(got, "XDP") {
		t.Errorf("a terminal says %q", got)
	}
	s := startStream(t, west, east)
	s.flows(t, 100)

	before := hub.status(t).Transit["forwarded_shifted"]
	result := w.load(120_000, 30_000)
	for range 2 {
		time.Sleep(500 * time.Millisecond)
		hub.stop(t, syscall.SIGKILL)
		time.Sleep(300 * time.Millisecond)
		hub.start(t, "DSSN_TEST_TRANSIT=xdp")
	}
	sent, received := result()
	if received != sent {
		t.Errorf("%d of %d carriers were lost while the hub's program was killed and started twice", sent-received, sent)
	}
	eventually(t, "the adopted transit", func() bool { return strings.Contains(hub.status(t).Obtained["transit"], "adopted") })
	status := hub.status(t)
	if after := status.Transit["forwarded_shifted"]; after-before < sent {
		t.Errorf("the hub's program forwarded %d carriers of %d: the kernel did the rest", after-before, sent)
	}
	e := w.hosts["e"].sid
	if i := slices.IndexFunc(status.Forwarded, func(c TransitCount) bool { return c.SID == e }); i < 0 || status.Forwarded[i].Packets < sent {
		t.Errorf("forwarded towards %v: %+v, want at least %d packets", e, status.Forwarded, sent)
	}
	s.flows(t, 100)

	// A clean end leaves the program at work too; RemoveTransit ends it.
	if err := hub.stop(t, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(hub.pins(), "routes")); err != nil {
		t.Errorf("a clean end took the pinned transit along: %v", err)
	}
	result = w.load(10_000, 30_000)
	if sent, received := result(); received != sent {
		t.Errorf("%d of %d carriers were lost while the hub's program was ended", sent-received, sent)
	}
	had, err := RemoveTransit(hub.state)
	if err != nil || !had {
		t.Errorf("removing the transit: had one %v, %v", had, err)
	}
	if _, err := os.Stat(hub.pins()); !os.IsNotExist(err) {
		t.Errorf("something is left at %s: %v", hub.pins(), err)
	}
	if text, err := hub.space.Run("ip", "-d", "link", "show"); err != nil || strings.Contains(text, "prog/xdp") {
		t.Errorf("a program is left on a link: %v\n%s", err, text)
	}
	if had, err := RemoveTransit(hub.state); had || err != nil {
		t.Errorf("removing it again: had one %v, %v", had, err)
	}
}

func TestTransitInTheDriverRepairs(t *testing.T) {
	w := newWorld(t)
	w.driven()
	w.startDriven()
	west, east, hub := w.hosts["west"], w.hosts["east"], w.hosts["w"]
	eventually(t, "the allocated path", func() bool { return west.using(t) == "north" && east.using(t) == "north" })
	// The hub w has a backup by south for shortest paths to e. The edge, whose
	// carrier names north, moves by itself as ever.
	w.hosts["north"].space.IP(t, "link set to-w down")
	eventually(t, "traffic by the other path", func() bool { return west.using(t) == "south" && east.using(t) == "south" })
	s := startStream(t, west, east)
	s.flows(t, 100)
	w.hosts["north"].space.IP(t, "link set to-w up")
	eventually(t, "a hub whose links are all in the driver again", func() bool {
		got := hub.status(t).Obtained["transit"]
		return strings.Contains(got, "native on to-north, to-south, to-west")
	})
	s.flows(t, 100)
}

func TestAKernelChoiceEndsAPinnedTransit(t *testing.T) {
	w := newWorld(t)
	w.driven()
	hub := w.hosts["north"]
	hub.start(t, "DSSN_TEST_TRANSIT=xdp")
	eventually(t, "pinned transit", func() bool {
		list, _ := os.ReadDir(hub.pins())
		return slices.ContainsFunc(list, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), "link-") })
	})
	if err := hub.stop(t, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	hub.start(t)
	eventually(t, "no pins", func() bool { _, err := os.Stat(hub.pins()); return os.IsNotExist(err) })
	eventually(t, "the kernel named", func() bool { return strings.Contains(hub.status(t).Obtained["transit"], "kernel seg6local") })
}

func TestAnUnknownTransitIsRefused(t *testing.T) {
	if err := Transit("dpdk").check(); err == nil || err.Error() != `nobody called "dpdk" can forward packets: choose kernel or xdp` {
		t.Errorf("said %v", err)
	}
}
