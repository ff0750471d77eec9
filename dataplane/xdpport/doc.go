// Package xdpport has AF_XDP ports for the packet worker: queues of a NIC
// towards the neighbours of a node (the LAN) and towards its peers (the WAN), on
// one UMEM, so that a packet is received, sealed and sent where it lies.
//
// What arrives is chosen below (xdp.Director): on the LAN, IPv6 packets to
// prefixes that lie beyond the tunnels, ICMPv6 excepted; on the WAN, UDP to the
// tunnels' port. Everything else stays the kernel's: ARP, neighbour discovery,
// IPv4, what is addressed to the host itself. There is no second stack: who a
// next hop is, the kernel is asked by somebody else, off the packet path, and the
// answer published here as Neighbours.
//
// Each worker has a Queue of its own, with its frames; what one queue receives for
// another's worker the kernel carries. Queue.Publish and the methods of Ports but
// Close may be called from any goroutine.
package xdpport
