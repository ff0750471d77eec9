package softport

import (
	"net/netip"
	"testing"
)

// What travels beside a datagram is written and read back the same, and whatever else
// stands there is read without harm.
func FuzzBeside(f *testing.F) {
	f.Add(uint16(1400), []byte{0xfd, 15: 1}, false, []byte{20, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0, 104, 0, 0, 0, 0x78, 5, 0, 0})
	f.Add(uint16(0), []byte{192, 0, 2, 1}, true, []byte{255, 255, 255, 255, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, segment uint16, address []byte, v4 bool, raw []byte) {
		var c controlBuf
		n := copy(c.bytes(), raw)
		if s, local := c.parse(n); local.IsMulticast() || local.IsValid() && local.IsUnspecified() {
			t.Fatalf("read segment %d and address %v from %x", s, local, raw)
		}
		local, ok := netip.AddrFromSlice(address)
		if ok {
			local = local.Unmap()
		}
		if !ok || local.IsMulticast() || local.IsUnspecified() || local.IsLinkLocalUnicast() || v4 != local.Is4() {
			return // not an address that a datagram of this family is sent from
		}
		c = controlBuf{}
		n = c.put(int(segment), local, 0, v4)
		_, back := c.parse(n) // the size goes out as UDP_SEGMENT and comes in as UDP_GRO
		if n > len(c.bytes()) || back != local {
			t.Fatalf("%v became %v, %d bytes", local, back, n)
		}
	})
}
