// Package xdp moves bytes in and out of the NIC: AF_XDP sockets written in Go,
// and the eBPF programs that decide, below the sockets, where frames go.
//
//   - UMEM, Pool, Socket: memory shared with the NIC, the free frames of one
//     worker, and one queue of one device. A worker's round stands at Socket.
//   - Director: which frames arriving on an ordinary NIC go to the sockets.
//   - Steer writes carriers into packets that leave the host's own sockets.
//
// What it is not: it does not route, encrypt or bill; it carries out tables that
// others computed. It imports no other room.
//
// Each type says how it may be called concurrently.
package xdp
