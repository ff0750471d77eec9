package softport

import (
	"net/netip"
	"strconv"
)

// Link-local peers carry their interface as a decimal zone, which needs no
// lookup; a name is looked up by the person who writes it.

func zoned(a netip.Addr, index uint32) netip.Addr {
	return a.WithZone(strconv.FormatUint(uint64(index), 10))
}

func scope(a netip.Addr) uint32 {
	if a.Zone() == "" {
		return 0
	}
	n, err := strconv.ParseUint(a.Zone(), 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}
