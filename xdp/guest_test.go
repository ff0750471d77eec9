package xdp_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"dssn/internal/guest"
	"dssn/xdp"
	"dssn/xdp/xdptest"
)

// TestZeroCopyOnVirtioInAGuestConforms runs the conformance suite on a virtio-net
// device in an emulated guest with a kernel of at least 6.13: for function, not for speed.
func TestZeroCopyOnVirtioInAGuestConforms(t *testing.T) {
	// Two NICs on one hub; the offloads off that XDP cannot live with.
	nic := "virtio-net-pci,netdev=%s,iommu_platform=on,disable-legacy=on,guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off"
	guest.Machine{
		Modules: []string{"virtio_net"}, MiB: 768, Limit: 4 * time.Minute,
		Devices: []string{"-netdev", "hubport,id=a,hubid=0", "-device", fmt.Sprintf(nic, "a"),
			"-netdev", "hubport,id=b,hubid=0", "-device", fmt.Sprintf(nic, "b")},
	}.Run(t)
}

// guestLinks brings the guest's links up, with nothing on them that speaks by itself.
func guestLinks() {
	time.Sleep(time.Second) // until the devices are there
	for _, name := range []string{"lo", "eth0", "eth1"} {
		os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", []byte("1"), 0)
		if err := setLink(name, true); err != nil {
			fmt.Println("guest: link", name, err)
		}
	}
}

// TestInTheGuest is what the guest runs; elsewhere there is nothing to do for it.
func TestInTheGuest(t *testing.T) {
	guest.Need(t)
	here := xdptest.Here(t)
	modes := map[xdp.Mode]int{}
	for _, mode := range []xdp.Mode{xdp.ModeZeroCopy, xdp.ModeCopy} {
		t.Run(mode.String(), func(t *testing.T) {
			xdptest.Conformance(t, func(t *testing.T) xdptest.Rig {
				w := newWire(t, here, "eth1")
				o := small
				o.Ifindex, o.Mode = here.Ifindex(t, "eth0"), mode
				s := openSocket(t, here, newPool(t, xdp.UMEMOptions{Frames: 256}), o)
				if modes[s.Mode()]++; s.Mode() != mode {
					t.Errorf("asked for %s, got %s", mode, s.Mode())
				}
				direct(t, here, xdp.DirectorOptions{Ifindex: o.Ifindex, All: true}, s)
				time.Sleep(50 * time.Millisecond)
				return xdptest.Rig{Socket: s, Inject: func(f ...[]byte) { w.send(t, f...) }, Sent: w.next}
			})
		})
	}
	t.Logf("sockets obtained: %v", modes)
}
