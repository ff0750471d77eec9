// Package camara speaks the telecom industry's API for bandwidth by the session:
// CAMARA Quality-On-Demand 1.1 (/quality-on-demand/v1) and QoS Profiles 1.1
// (/qos-profiles/v1), as of release r3.2 of the QualityOnDemand project.
//
// A session is a reservation. Its device is a terminal, named by its identifier;
// its application server is a dataset, named by its identifier; the traffic is
// what the dataset's holder sends to the device. A profile says which class and
// which rates are reserved. What a definition leaves to the provider:
//
//   - of a device's identifiers only ipv6Address is known here;
//   - ports are kept and shown, and the reservation covers the whole flow between
//     the two identifiers: packets are told apart by identifiers, not by ports;
//   - an API client is a person or a node; a token that names a device, and a
//     terminal's certificate, are three-legged.
//
// The package checks, answers and describes; a Service decides. It may be used
// by any number of goroutines.
package camara
