package kernel

import (
	"context"
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"dssn"
)

// Link is an interface as it is now.
type Link struct {
	Index int
	Name  string
	// Up is true if the interface is switched on and has a carrier.
	Up bool
	// Gone is true if the interface no longer exists.
	Gone  bool
	MTU   int
	Speed dssn.Bandwidth // 0 if the interface does not say
}

// WatchLinks calls f with every link that exists and then with every change,
// until ctx ends; f is called by one goroutine at a time. It returns once the
// subscription stands. broken is called if the kernel dropped
// messages or the subscription ended otherwise: the caller then watches anew.
func WatchLinks(ctx context.Context, f func(Link), broken func(error)) error {
	updates := make(chan netlink.LinkUpdate, 256)
	err := netlink.LinkSubscribeWithOptions(updates, ctx.Done(), netlink.LinkSubscribeOptions{
		ListExisting:      true,
		ReceiveBufferSize: 1 << 20,
	})
	if err != nil {
		return fmt.Errorf("watch links: %w", err)
	}
	go func() {
		for u := range updates {
			a := u.Attrs()
			l := Link{Index: a.Index, Name: a.Name, MTU: a.MTU, Gone: u.Header.Type == unix.RTM_DELLINK}
			l.Up = !l.Gone && isUp(a.RawFlags)
			if l.Up {
				l.Speed = linkSpeed(a.Name)
			}
			f(l)
		}
		if ctx.Err() == nil {
			broken(fmt.Errorf("watch links: the kernel ended the subscription"))
		}
	}()
	return nil
}

// Links returns the links that exist, without their speeds.
func Links() ([]Link, error) {
	list, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	out := make([]Link, 0, len(list))
	for _, l := range list {
		a := l.Attrs()
		out = append(out, Link{Index: a.Index, Name: a.Name, MTU: a.MTU, Up: isUp(a.RawFlags)})
	}
	return out, nil
}

// isUp reads the flags of a link. IFF_RUNNING is left out: it follows the
// carrier up to a second later.
func isUp(flags uint32) bool { return flags&unix.IFF_UP != 0 && flags&unix.IFF_LOWER_UP != 0 }

// Carriers asks drivers whether links are up. The kernel tells of a lost carrier
// up to a second late (it gathers such events); asking costs a microsecond.
type Carriers struct{ fd int }

// OpenCarriers opens the socket to ask through, in the calling thread's network
// namespace.
func OpenCarriers() (*Carriers, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a socket to ask links: %w", err)
	}
	return &Carriers{fd}, nil
}

// Up reports whether the named link is on and has a carrier; ok is false if its
// driver does not say.
func (c *Carriers) Up(name string) (up, ok bool) {
	// struct ethtool_value: the command and the answer.
	var cmd [8]byte
	binary.NativeEndian.PutUint32(cmd[:], unix.ETHTOOL_GLINK)
	if !ethtool(c.fd, name, cmd[:]) {
		return false, false
	}
	return binary.NativeEndian.Uint32(cmd[4:]) != 0, true
}

// Close closes the socket.
func (c *Carriers) Close() { unix.Close(c.fd) }

// linkSpeed asks the driver (ETHTOOL_GSET). Zero means that it does not say.
func linkSpeed(name string) dssn.Bandwidth {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	// struct ethtool_cmd: the command at 0, the speed's low half in Mbit/s at
	// 12 and its high half at 28.
	var cmd [44]byte
	binary.NativeEndian.PutUint32(cmd[:], unix.ETHTOOL_GSET)
	if !ethtool(fd, name, cmd[:]) {
		return 0
	}
	mbps := uint64(binary.NativeEndian.Uint16(cmd[12:])) | uint64(binary.NativeEndian.Uint16(cmd[28:]))<<16
	if mbps == 0 || mbps >= 1<<31 { // unknown is all ones
		return 0
	}
	return dssn.Bandwidth(mbps * 1_000_000)
}

// ethtool carries out one ETHTOOL command, which begins cmd and is answered in it.
func ethtool(fd int, name string, cmd []byte) bool {
	// struct ifreq: the name in 16 bytes, then a pointer.
	var req struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	if len(name) >= unix.IFNAMSIZ {
		return false
	}
	copy(req.name[:], name)
	req.data = unsafe.Pointer(&cmd[0])
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	return e == 0
}
