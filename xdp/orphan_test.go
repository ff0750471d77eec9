package xdp_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dssn/internal/need"
	"dssn/xdp"
	"dssn/xdp/xdptest"
)

// TestTransitWithoutItsProcessRepairsByTheKernelsRoutes kills the process that watches
// over a pinned transit and then cuts a link: nobody is left to tell the program, which
// goes by the kernel's routes and so finds the backup itself.
func TestTransitWithoutItsProcessRepairsByTheKernelsRoutes(t *testing.T) {
	need.Root(t)
	l := &line{gen: xdptest.NewNetns(t).Quiet(t), dut: xdptest.NewNetns(t), end: xdptest.NewNetns(t).Quiet(t)}
	xdptest.Veth(t, l.gen, "g0", l.dut, "d0")
	for i, name := range []string{"1", "2"} {
		xdptest.Veth(t, l.dut, "d"+name, l.end, "s"+name)
		l.end.Do(t, func() (err error) {
			l.sinks[i], err = xdp.NewSink(xdp.SinkOptions{Ifindex: l.end.Ifindex(t, "s"+name), IPv6Only: true, Prefix64: 0x5f000d5500000000, Mask64: 0xffffffff00000000})
			return err
		})
		t.Cleanup(func() { l.sinks[i].Close() })
		// What a node sets in its kernel, the way first and the backup behind it.
		mac := xdp.MAC(l.end.MAC(t, "s"+name)).String()
		l.dut.IP(t, "neigh", "add", "fe80::"+name, "lladdr", mac, "dev", "d"+name, "nud", "permanent")
		l.dut.IP(t, "-6", "route", "add", fmt.Sprintf("5f00:d55:%x::/48", sidPlain), "via", "fe80::"+name, "dev", "d"+name, "metric", "21"+name)
		l.dut.Sysctl(t, "net/ipv6/conf/d"+name+"/ignore_routes_with_linkdown", "1")
	}
	l.dut.Sysctl(t, "net/ipv6/conf/all/forwarding", "1")
	o := lab
	o.PinDir = filepath.Join(bpffs(t), "transit")
	t.Cleanup(func() {
		if err := xdp.RemoveTransit(o.PinDir); err != nil {
			t.Error(err)
		}
	})
	process := exec.Command(os.Args[0])
	process.Env = append(os.Environ(), "DSSN_XDP_TEST_NODE="+o.PinDir)
	out, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	l.dut.Start(t, process)
	t.Cleanup(func() { process.Process.Kill(); process.Wait() })
	if said, _ := bufio.NewReader(out).ReadString('\n'); !strings.HasPrefix(said, "adopted") {
		t.Fatalf("the process said %q", said)
	}

	g := l.generator(t, frameSpec{})
	send := func(count uint64) (first, second uint64) {
		t.Helper()
		was := [2]uint64{}
		for i, s := range l.sinks {
			n, _ := s.Count()
			was[i] = n.Packets
		}
		l.gen.Do(t, func() error { return g.Run(t.Context(), count, 20_000) })
		for range 100 {
			a, _ := l.sinks[0].Count()
			b, _ := l.sinks[1].Count()
			if first, second = a.Packets-was[0], b.Packets-was[1]; first+second == count {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		return first, second
	}
	const count = 1000
	// With its process, the program goes by its table, which leads to toMAC over d1.
	if first, second := send(count); first != count || second != 0 {
		t.Fatalf("with its process: %d and %d of %d came by the two links", first, second, count)
	}
	process.Process.Kill() // SIGKILL
	process.Wait()
	if first, second := send(count); first != count || second != 0 {
		t.Errorf("without its process: %d and %d of %d came by the two links", first, second, count)
	}
	l.end.Do(t, func() error { return setLink("s1", false) })
	// The kernel needs a moment to tell its routes.
	for range 500 {
		if _, second := send(20); second == 20 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if first, second := send(count); first != 0 || second != count {
		t.Errorf("after the cut: %d and %d of %d came by the two links", first, second, count)
	}

	// The next process is trusted again, from its first table on.
	var tr *xdp.Transit
	l.dut.Do(t, func() (err error) { tr, err = xdp.OpenTransit(o); return err })
	defer tr.Close()
	c, err := tr.Counts()
	if err != nil || c.Of("forwarded_repaired") < count {
		t.Errorf("%d packets were counted as repaired, want at least %d (%v)", c.Of("forwarded_repaired"), count, err)
	}
	l.end.Do(t, func() error { return setLink("s1", true) })
	via := l.adjacency(t, 2)
	l.dut.Do(t, func() error {
		if err := tr.SetRoutes([]xdp.TransitRoute{{SID: sidPlain, Via: via}}); err != nil {
			return err
		}
		_, err := tr.Attach(xdp.IngressOptions{Ifindex: l.dut.Ifindex(t, "d0"), MAC: l.dut.MAC(t, "d0")})
		return err
	})
	if first, second := send(count); first != 0 || second != count {
		t.Errorf("with the next process, whose table leads to the second link: %d and %d of %d came by the two", first, second, count)
	}
}
