// Package northbound is what people and programs say to the controller: the
// HTTP+JSON of /v1 as plain types, the handler that speaks it in front of a
// Service, and the Client that commands and nodes use.
//
// It decides nothing: the Service (the controller) does. Types are descriptions,
// safe to copy and compare by their JSON. Handler and Client may be used from
// any goroutine.
package northbound
