// Package node runs one host: an access terminal or a backbone node.
//
// The core (core.go, compile.go) is a machine: given the time and an input
// it returns effects, and owns no clock, socket or goroutine. It knows the
// Assignment, the links and neighbours and the state of paths, and says which
// routes, tables and carriers are wanted. The shell around it (the other files)
// feeds it and carries out its effects: netlink, sockets, tunnels, the stream
// to the controller, the files of the state directory and the local API.
//
// A node that has lost its controller goes on with its last Assignment, which
// is also on disk, and repairs around dead links and paths by itself.
//
// Join and Run are the package's doors; each runs in the network namespace of
// the process. What is decided elsewhere: who may do what (controller), what
// happens to a packet (dataplane), how a dataset is fetched (node/transfer).
package node
