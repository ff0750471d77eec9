// Package path measures a path hop by hop: how long packets take to each node on
// it and how many are lost on the way there, and names the hop that loses.
//
// A probe for the k-th node is sent to the carrier of the first k segments (RFC
// 9800), so that it takes the path's own way up to there, and its checksum is for
// the node's own address, where it ends. There a STAMP reflector (RFC 8762)
// answers; as it counts, loss on the way there is told from loss on the way back,
// which is the ordinary one and may be another. A node without a reflector is
// asked for an ICMPv6 echo: then only both ways together are known.
//
//	locate.go   which hop loses: a core
//	packet.go   probes below the sockets: IPv6 with UDP or ICMPv6
//	measure.go  sending, hearing, putting together
//	result.go   the outcome as a perf result
package path
