package xdp

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// DeviceFeatures is what a driver declares about XDP (the kernel's netdev family of
// generic netlink, since 6.3).
type DeviceFeatures struct {
	Native            bool // XDP in the driver
	Redirect          bool // it may redirect frames away
	Transmit          bool // frames may be redirected to it
	ZeroCopy          bool // AF_XDP sockets without copying
	MultiBuffer       bool // frames longer than a buffer, received
	TransmitMulti     bool // and sent
	ZeroCopySegments  int  // buffers a zero-copy packet may span
	RxTimestamp       bool
	RxHash            bool
	RxVLAN            bool
	TxTimestamp       bool
	TxChecksum        bool
	TxLaunchTime      bool
	XDPFeatures       uint64 // as the kernel said them
	RxMetadataWord    uint64
	SocketFeatureWord uint64
}

// QueryDevice asks for an interface of the caller's network namespace.
func QueryDevice(ifindex int) (f DeviceFeatures, err error) {
	doing := fmt.Sprintf("asking for the XDP features of interface %d", ifindex)
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC)
	if err != nil {
		return f, explain(doing, err)
	}
	defer unix.Close(fd)
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2})
	const getFamily, familyName, familyID = unix.CTRL_CMD_GETFAMILY, unix.CTRL_ATTR_FAMILY_NAME, unix.CTRL_ATTR_FAMILY_ID
	attrs, err := genetlink(fd, unix.GENL_ID_CTRL, getFamily, attribute(familyName, []byte("netdev\x00")))
	if errors.Is(err, unix.ENOENT) {
		return f, fmt.Errorf("%s: this kernel does not tell (it needs 6.3): %w", doing, err)
	} else if err != nil {
		return f, explain(doing, err)
	}
	if len(attrs[familyID]) < 2 {
		return f, fmt.Errorf("%s: the kernel's answer names no family", doing)
	}
	const devGet, devIfindex, devXDP, devSegments, devRx, devSocket = 1, 1, 3, 4, 5, 6
	index := binary.NativeEndian.AppendUint32(nil, uint32(ifindex))
	attrs, err = genetlink(fd, binary.NativeEndian.Uint16(attrs[familyID]), devGet, attribute(devIfindex, index))
	if err != nil {
		return f, explain(doing, err)
	}
	word := func(kind uint16) uint64 {
		switch b := attrs[kind]; len(b) {
		case 4:
			return uint64(binary.NativeEndian.Uint32(b))
		case 8:
			return binary.NativeEndian.Uint64(b)
		}
		return 0
	}
	x, rx, sock := word(devXDP), word(devRx), word(devSocket)
	return DeviceFeatures{
		Native: x&1 != 0, Redirect: x&2 != 0, Transmit: x&4 != 0, ZeroCopy: x&8 != 0,
		MultiBuffer: x&32 != 0, TransmitMulti: x&64 != 0, ZeroCopySegments: int(word(devSegments)),
		RxTimestamp: rx&1 != 0, RxHash: rx&2 != 0, RxVLAN: rx&4 != 0,
		TxTimestamp: sock&1 != 0, TxChecksum: sock&2 != 0, TxLaunchTime: sock&4 != 0,
		XDPFeatures: x, RxMetadataWord: rx, SocketFeatureWord: sock,
	}, nil
}

// attribute is one netlink attribute, padded.
func attribute(kind uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, (4-len(b)%4)%4)...)
}

// genetlink asks one question and returns the attributes of the one answer.
func genetlink(fd int, family uint16, command byte, attrs []byte) (map[uint16][]byte, error) {
	const header, genHeader = 16, 4
	m := binary.NativeEndian.AppendUint32(nil, uint32(header+genHeader+len(attrs)))
	m = binary.NativeEndian.AppendUint16(m, family)
	m = binary.NativeEndian.AppendUint16(m, unix.NLM_F_REQUEST)
	m = append(m, 1, 0, 0, 0, 0, 0, 0, 0) // sequence number, port
	m = append(m, command, 1, 0, 0)
	if err := unix.Sendto(fd, append(m, attrs...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	buf := make([]byte, 1<<16)
	n, _, err := unix.Recvfrom(fd, buf, 0)
	if err != nil {
		return nil, err
	}
	if n < header+genHeader {
		return nil, errors.New("the kernel's answer is cut short")
	}
	if binary.NativeEndian.Uint16(buf[4:]) == unix.NLMSG_ERROR {
		return nil, unix.Errno(-int32(binary.NativeEndian.Uint32(buf[header:])))
	}
	found := make(map[uint16][]byte)
	for b := buf[header+genHeader : n]; len(b) >= 4; {
		size := int(binary.NativeEndian.Uint16(b))
		if size < 4 || size > len(b) {
			break
		}
		found[binary.NativeEndian.Uint16(b[2:])&0x3fff] = b[4:size]
		b = b[min((size+3)&^3, len(b)):]
	}
	return found, nil
}
