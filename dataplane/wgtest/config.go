package wgtest

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"dssn/dataplane"
)

// changes says, in the device's configuration language, how tables become
// others: first everything that is added or set, then everything that is
// removed. A peer in both keeps its session.
//
// A prefix that moves from one peer to another is only ever added: the device
// gives it to its new peer in one step, and forgets nothing in between.
func changes(from, to *dataplane.Tables) (joins, leaves string) {
	before := make(map[dataplane.Key]*dataplane.Peer, len(from.Peers))
	for i := range from.Peers {
		before[from.Peers[i].Key] = &from.Peers[i]
	}
	held := make(map[netip.Prefix]bool)
	for _, p := range to.Peers {
		for _, a := range p.Allowed {
			held[a.Masked()] = true
		}
	}

	var in, out strings.Builder
	for i := range to.Peers {
		p := &to.Peers[i]
		old := before[p.Key]
		delete(before, p.Key)
		if old != nil && same(old, p) {
			continue
		}
		fresh := old == nil
		if fresh {
			old = new(dataplane.Peer)
		}
		fmt.Fprintf(&in, "public_key=%x\n", p.Key[:])
		if p.PresharedKey != old.PresharedKey {
			fmt.Fprintf(&in, "preshared_key=%x\n", p.PresharedKey[:])
		}
		if p.Endpoint != old.Endpoint && p.Endpoint.IsValid() {
			fmt.Fprintf(&in, "endpoint=%v\n", p.Endpoint)
		}
		if p.Keepalive != old.Keepalive {
			fmt.Fprintf(&in, "persistent_keepalive_interval=%d\n", seconds(p.Keepalive))
		}
		for _, a := range p.Allowed {
			if !slices.Contains(old.Allowed, a) {
				fmt.Fprintf(&in, "allowed_ip=%v\n", a.Masked())
			}
		}
		var gone []netip.Prefix
		for _, a := range old.Allowed {
			if !held[a.Masked()] {
				gone = append(gone, a.Masked())
			}
		}
		if len(gone) > 0 {
			fmt.Fprintf(&out, "public_key=%x\nupdate_only=true\n", p.Key[:])
			for _, a := range gone {
				fmt.Fprintf(&out, "allowed_ip=-%v\n", a)
			}
		}
	}
	for i := range from.Peers {
		if k := from.Peers[i].Key; before[k] != nil {
			fmt.Fprintf(&out, "public_key=%x\nremove=true\n", k[:])
		}
	}
	return in.String(), out.String()
}

func same(a, b *dataplane.Peer) bool {
	return a.Endpoint == b.Endpoint && a.PresharedKey == b.PresharedKey && a.Keepalive == b.Keepalive && slices.Equal(a.Allowed, b.Allowed)
}

// seconds rounds up, and stays within what the device reads.
func seconds(d time.Duration) int64 {
	return min(int64((d+time.Second-1)/time.Second), 65535)
}

// Peers implements dataplane.Engine.
func (e *Engine) Peers(dst []dataplane.PeerState) []dataplane.PeerState {
	text, err := e.device.IpcGet()
	if err != nil {
		return dst
	}
	return appendPeers(dst, text)
}

// appendPeers reads the device's description of itself.
func appendPeers(dst []dataplane.PeerState, text string) []dataplane.PeerState {
	var sec, nsec int64
	begun := false
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if name == "public_key" {
			sec, nsec, begun = 0, 0, true
			dst = append(dst, dataplane.PeerState{})
			p := &dst[len(dst)-1]
			if b, err := hex.DecodeString(value); err == nil {
				copy(p.Key[:], b)
			}
			continue
		}
		if !begun {
			continue
		}
		p := &dst[len(dst)-1]
		n, _ := strconv.ParseInt(value, 10, 64)
		switch name {
		case "last_handshake_time_sec":
			sec = n
		case "last_handshake_time_nsec":
			nsec = n
			if sec != 0 || nsec != 0 {
				p.LastHandshake = time.Unix(sec, nsec)
			}
		case "tx_bytes":
			p.SentBytes = uint64(n)
		case "rx_bytes":
			p.ReceivedBytes = uint64(n)
		}
	}
	return dst
}
