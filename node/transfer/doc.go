// Package transfer moves datasets between nodes: a Server that answers on
// identifiers, because an identifier is an address, and Get, which fetches by
// identifier, verifies every 16 KiB on arrival and can be killed and resumed.
//
// What the two say to each other is HTTP/1.1 with range requests, so a stock
// client fetches the same files from the same address:
//
//	GET  /                        what the dataset holds, as text or JSON
//	GET  /PATH                    one file; ranges; ETag is the file's BLAKE3 root
//	GET  /.dssn/record            the signed record (package content)
//	GET  /.dssn/manifest          the manifest, whose BLAKE3 is the record's root
//	GET  /.dssn/outboard/PATH     chaining values of the file's groups
//	POST /.dssn/transfers/ID      the receiver acknowledges what it has verified
//
// Get's requests carry the transfer's identifier in the header Dssn-Transfer.
// Both ends count content bytes: the receiver those that it verified for the
// first time, the holder what the receiver acknowledged, and the holder
// believes no more than it has served. So the two numbers are equal to the byte
// when a transfer is done, whatever was cut, repeated or restarted in between.
//
// The package knows nothing of tunnels, paths or the controller: who may
// fetch is a function that the node gives to the server, and where a record
// comes from is an interface that Get's caller gives to it. A Server may be
// used from any goroutine; each Get is one call.
package transfer
