package xdp

import "encoding/binary"

// What a sender may ask of the NIC for one packet, in the bytes before it (struct
// xsk_tx_metadata, kernel 6.8; launch time 6.14). The UMEM must have been made
// with TxMetadata, and the packet must begin at least TxMetadataBytes into its
// frame:
//
//	┌───────────────┬────────────┬─────────────┬─────────────┬────────
//	│ flags      u64│ start   u16│ offset   u16│ launch   u64│ packet…
//	└───────────────┴────────────┴─────────────┴─────────────┴────────
//	Addr−24         Addr−16      Addr−14       Addr−8        Addr
//
// After sending, the eight bytes at Addr−16 are the time of departure.
const (
	askTimestamp  = 1 << 0
	askChecksum   = 1 << 1
	askLaunchTime = 1 << 2
)

// request is the metadata before d, cleared if d had none yet; nil if it does not
// fit.
func (u *UMEM) request(d *Desc) []byte {
	if u.metadata == 0 || d.Addr-u.frameOf(d.Addr) < TxMetadataBytes {
		return nil
	}
	m := u.Bytes(Desc{Addr: d.Addr - TxMetadataBytes, Len: TxMetadataBytes})
	if m != nil && d.Options&TxRequest == 0 {
		clear(m)
		d.Options |= TxRequest
	}
	return m
}

func (u *UMEM) ask(d *Desc, flag uint64) []byte {
	m := u.request(d)
	if m != nil {
		binary.NativeEndian.PutUint64(m, binary.NativeEndian.Uint64(m)|flag)
	}
	return m
}

// RequestChecksum asks for the Internet checksum of d's bytes from start on, put
// at start+offset, where the pseudo-header's sum stands already. It reports
// whether there was room to ask; the NIC may still be unable (`dssn doctor nic`).
func (u *UMEM) RequestChecksum(d *Desc, start, offset uint16) bool {
	m := u.ask(d, askChecksum)
	if m == nil {
		return false
	}
	binary.NativeEndian.PutUint16(m[8:], start)
	binary.NativeEndian.PutUint16(m[10:], offset)
	return true
}

// RequestLaunchTime asks for d to leave no sooner than a time of the NIC's clock,
// in nanoseconds.
func (u *UMEM) RequestLaunchTime(d *Desc, nanoseconds uint64) bool {
	m := u.ask(d, askLaunchTime)
	if m == nil {
		return false
	}
	binary.NativeEndian.PutUint64(m[16:], nanoseconds)
	return true
}

// RequestTimestamp asks for d's time of departure, which SentAt tells once d was
// reclaimed and before its frame is used again.
func (u *UMEM) RequestTimestamp(d *Desc) bool { return u.ask(d, askTimestamp) != nil }

// SentAt is the time of departure that was asked for, in nanoseconds of the NIC's
// clock; 0 if the NIC did not say.
func (u *UMEM) SentAt(d Desc) uint64 {
	m := u.Bytes(Desc{Addr: d.Addr - TxMetadataBytes, Len: TxMetadataBytes})
	if m == nil || u.metadata == 0 {
		return 0
	}
	return binary.NativeEndian.Uint64(m[8:])
}
