// Package lab is a network on one machine: every node of a te-topology/1 file
// becomes a network namespace with a process of its own, every fibre a veth
// pair or an emulated wire, and a management network joins the controller to the backbone, as an
// operator's out-of-band network would.
//
//	plan.go       what will be made, as plain data, from a topology
//	network.go    making it: namespaces, links, addresses, sysctls
//	process.go    programs inside namespaces, with logs, ended with the lab
//	remove.go     taking it all away again, also what a killed lab left
//	lab.go        the whole: Up, Open, Exec, Cut, Restore, Down
//	boot.go       a controller and its nodes, joined by the commands of a user
//	run.go        the main job of the product, step by step, with its report
//	wires.go      emulated wires: which, and asking their program
//	wireserver.go that program, in a namespace between the ends (perf/wire does the work)
//	play.go       carrying out a scenario (folder scenario)
//	observe.go    pictures of a lab that stands (folder view draws them)
//	capture.go    the frames of a link (perf/capture says what they are)
//
// A plain veth pair has no distance, loss or rate of its own; what a link may
// carry is kept by the policers that the controller sets. A wire has what its
// settings say. It needs root. One Lab belongs to one goroutine; several
// labs may stand at the same time, each under its own name.
//
// Everything a lab makes carries its name: namespaces dssn-<lab>-<node>, the
// directory /run/dssn-lab/<lab>, the data folder dssn-lab-<lab> in the temp
// directory. No link is ever made outside those namespaces, so removing them
// removes all links, addresses and routes; that is why a lab killed at any
// moment can be removed by name.
package lab
