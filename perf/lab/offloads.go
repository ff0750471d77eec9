package lab

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// driven prepares the backbone's links for programs in their drivers. A veth receives
// frames that a program redirects to it only while it polls, which generic receive
// offload makes it do; and a program forwards frames as they are, so their senders
// must have finished the checksums that veth ends leave to each other.
func driven(p *Plan) error {
	for _, w := range p.Wires {
		if w.Ends[0].Node == string(RoleSwitch) || w.Ends[1].Node == string(RoleSwitch) {
			continue
		}
		for _, e := range w.Ends {
			if err := offloads(p.node(e.Node).Namespace, e.Interface); err != nil {
				return fmt.Errorf("prepare %s of %s for transit in the driver: %w", e.Interface, e.Node, err)
			}
		}
	}
	return nil
}

// offloads turns generic receive offload on and transmit checksums off.
func offloads(namespace, iface string) error {
	return inNamespace(namespace, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		const setTxChecksum, setGRO = 0x17, 0x2c // ETHTOOL_STXCSUM, ETHTOOL_SGRO
		if err := ethtool(fd, iface, setGRO, 1); err != nil {
			return err
		}
		return ethtool(fd, iface, setTxChecksum, 0)
	})
}

// ethtool gives an interface one setting: struct ethtool_value behind a struct ifreq.
func ethtool(fd int, iface string, command, value uint32) error {
	var v [8]byte
	binary.NativeEndian.PutUint32(v[:], command)
	binary.NativeEndian.PutUint32(v[4:], value)
	var req struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(req.name[:unix.IFNAMSIZ-1], iface)
	req.data = unsafe.Pointer(&v[0])
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req))); e != 0 {
		return e
	}
	return nil
}
