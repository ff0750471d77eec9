package capture

import (
	"encoding/binary"
	"fmt"
)

// WireGuard is the clear part of a tunnel message: a little-endian type, indices
// that the receivers chose, and for data a counter. Source: the WireGuard
// protocol, wireguard.com/protocol; RFC numbers there are none.
//
//	type 1 initiation, 148 bytes: 4 sender           3 cookie reply, 64: 4 receiver
//	type 2 response, 92: 4 sender, 8 receiver        4 data, 32 and more: 4 receiver, 8 counter, 16 sealed
type WireGuard struct {
	Type     uint8
	Sender   uint32
	Receiver uint32
	Counter  uint64
	Sealed   int // bytes behind the header of a data message, 16 of them its tag
}

// ParseWireGuard reads the payload of a UDP datagram; ok is false if it has not the
// shape of a tunnel message.
func ParseWireGuard(b []byte) (w WireGuard, ok bool) {
	if len(b) < 4 || b[1]|b[2]|b[3] != 0 {
		return w, false
	}
	w.Type = b[0]
	u32 := func(i int) uint32 { return binary.LittleEndian.Uint32(b[i:]) }
	switch {
	case w.Type == 1 && len(b) == 148:
		w.Sender = u32(4)
	case w.Type == 2 && len(b) == 92:
		w.Sender, w.Receiver = u32(4), u32(8)
	case w.Type == 3 && len(b) == 64:
		w.Receiver = u32(4)
	case w.Type == 4 && len(b) >= 32 && len(b)%16 == 0:
		w.Receiver, w.Counter, w.Sealed = u32(4), binary.LittleEndian.Uint64(b[8:]), len(b)-16
	default:
		return WireGuard{}, false
	}
	return w, true
}

func (w WireGuard) String() string {
	switch w.Type {
	case 1:
		return fmt.Sprintf("WireGuard initiation, sender %08x", w.Sender)
	case 2:
		return fmt.Sprintf("WireGuard response, sender %08x, receiver %08x", w.Sender, w.Receiver)
	case 3:
		return fmt.Sprintf("WireGuard cookie reply, receiver %08x", w.Receiver)
	}
	if w.Sealed == 16 {
		return fmt.Sprintf("WireGuard keepalive, receiver %08x, counter %d", w.Receiver, w.Counter)
	}
	return fmt.Sprintf("WireGuard data, receiver %08x, counter %d, %d bytes sealed", w.Receiver, w.Counter, w.Sealed-16)
}
