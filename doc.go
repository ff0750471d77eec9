// Package dssn is the dictionary of the data switching service network: the
// identifiers, names and units that two or more rooms share.
//
// It holds values only: no sockets, no clocks, no goroutines, nothing outside
// the standard library. Every type is small and immutable, compares with ==
// and may be used from any goroutine.
//
//	DataID         names a dataset, node, series or service; it is an IPv6 address
//	NodeID         a DataID of kind node
//	SID, Carrier   a node's 16-bit segment identifier, and a path written as one address
//	ReservationID  the number that runs from request to receipt
//	Grade, Category, Kind, Suite   the four nibbles in the middle of a DataID
//	Class, Excess  how traffic is treated
//	Bandwidth, ByteCount           bits per second and bytes
package dssn
