package lab

import _ "embed"

// EightHubs is the topology of the main job, te-topology/1: the eight hubs of
// the national integrated compute network and fibres between them. Any two hubs
// have two routes that share no other hub.
//
//go:embed eight-hubs.json
var EightHubs []byte
