package xdptest

import (
	"encoding/binary"

	"dssn/xdp"
)

// What the kernel and a NIC make of the bytes before a packet, written from the kernel's
// ABI (include/uapi/linux/if_xdp.h, struct xsk_tx_metadata) and not from ours, so that
// each is a test of the other:
//
//	to the NIC     0  flags u64 · 8 csum_start u16 · 10 csum_offset u16 · 16 launch_time u64
//	from the NIC   8  tx_timestamp u64
const (
	optionMetadata = 1 << 1 // XDP_TX_METADATA, of a descriptor
	metadataLen    = 24

	flagTimestamp  = 1 << 0 // XDP_TXMD_FLAGS_TIMESTAMP
	flagChecksum   = 1 << 1 // XDP_TXMD_FLAGS_CHECKSUM
	flagLaunchTime = 1 << 2 // XDP_TXMD_FLAGS_LAUNCH_TIME
	flagsKnown     = flagTimestamp | flagChecksum | flagLaunchTime
)

// metadata does what was asked for a packet that is about to leave; later says that it is
// not its time yet. It reports false for a request that the kernel refuses.
func (k *Kernel) metadata(d xdp.Desc, packet []byte) (later, ok bool) {
	if d.Options&optionMetadata == 0 {
		return false, true
	}
	if d.Addr < metadataLen {
		return false, false
	}
	m := k.umem.Bytes(xdp.Desc{Addr: d.Addr - metadataLen, Len: metadataLen})
	flags := binary.NativeEndian.Uint64(m)
	if flags&^flagsKnown != 0 {
		return false, false
	}
	if flags&flagLaunchTime != 0 && binary.NativeEndian.Uint64(m[16:]) > k.Clock {
		return true, true
	}
	if flags&flagChecksum != 0 {
		start, at := int(binary.NativeEndian.Uint16(m[8:])), int(binary.NativeEndian.Uint16(m[8:]))+int(binary.NativeEndian.Uint16(m[10:]))
		if start >= len(packet) || at+2 > len(packet) {
			return false, false
		}
		binary.BigEndian.PutUint16(packet[at:], ^sum(packet[start:]))
	}
	if flags&flagTimestamp != 0 {
		binary.NativeEndian.PutUint64(m[8:], k.Clock)
	}
	return false, true
}

// sum is the Internet checksum's sum (RFC 1071), not yet inverted.
func sum(b []byte) uint16 {
	var s uint32
	for i := 0; i < len(b); i += 2 {
		s += uint32(b[i]) << 8
		if i+1 < len(b) {
			s += uint32(b[i+1])
		}
	}
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}
