// Package xdp moves bytes in and out of the NIC: AF_XDP sockets written in Go,
// and the eBPF programs that decide, below the sockets, where frames go.
//
//   - Steer writes carriers into packets that leave the host's own sockets.
//
// What it is not: it does not route, encrypt or bill; it carries out tables that
// others computed. It imports no other room.
//
// Each type says how it may be called concurrently.
package xdp
