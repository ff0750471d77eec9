// Package content answers one question: what are the bytes of a dataset?
//
// A dataset is a directory. From it come, in this order,
//
//	file      a BLAKE3 root over its bytes; each 16 KiB group of bytes is one
//	          subtree, so any 16 KiB can be checked alone (file tree.go)
//	Outboard  the chaining values of a file's groups: what a receiver needs to
//	          check groups as they arrive, in any order (outboard.go)
//	Manifest  the list of path, size and root of every file, in one canonical
//	          form (manifest.go)
//	root      BLAKE3 of the manifest's bytes: the content root of the dataset
//	DataID    minted from the content root and the total length (mint.go)
//	Record    what the registrant signs and the catalogue keeps (record.go)
//
// so that sixteen bytes of identifier, by way of one signed record, pin every
// byte of every file. The package is the one door to lukechampine.com/blake3.
//
// It is not a transport (node/transfer moves the bytes) and not a catalogue
// (room controller). Except for Build, which reads a directory, nothing here
// does input or output, reads a clock or draws randomness. All functions may be
// called from any goroutine; a value may be read by many or written by one.
package content
