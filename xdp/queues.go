package xdp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// Queues chooses the queue of a TUN interface for each packet that the host sends
// into it (TUNSETSTEERINGEBPF): packets to a prefix that is pinned go to the
// prefix's queue, all others by a hash that is the same for all packets of a flow, in
// both directions. It needs CAP_BPF. Its methods belong to one goroutine.
type Queues struct {
	program *ebpf.Program
	pins    *ebpf.Map
	now     map[netip.Prefix]uint32
}

// pinKey is the kernel's key of a longest-prefix-match trie. An IPv4 prefix is
// written as the IPv6 prefix that maps it (RFC 4291, section 2.5.5.2).
type pinKey struct {
	Bits uint32
	Addr [16]byte
}

func keyOf(p netip.Prefix) pinKey {
	k := pinKey{Bits: uint32(p.Bits()), Addr: p.Masked().Addr().As16()}
	if p.Addr().Is4() {
		k.Bits += 96
	}
	return k
}

// maxPins bounds the prefixes that are pinned.
const maxPins = 1 << 17

// NewQueues loads the program with nothing pinned.
func NewQueues() (q *Queues, err error) {
	q = &Queues{now: map[netip.Prefix]uint32{}}
	q.pins, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.LPMTrie, KeySize: 20, ValueSize: 4, MaxEntries: maxPins, Flags: noPrealloc})
	if err != nil {
		return nil, explain("making the table of queues", err)
	}
	q.program, err = ebpf.NewProgram(&ebpf.ProgramSpec{Name: "queues", Type: ebpf.SocketFilter, License: "Dual BSD/GPL", Instructions: queuesProgram(q.pins.FD())})
	if err != nil {
		q.pins.Close()
		return nil, explain("loading the program that chooses queues", err)
	}
	return q, nil
}

// noPrealloc is BPF_F_NO_PREALLOC, which a trie needs.
const noPrealloc = 1

// FD returns the program's file descriptor, valid until Close.
func (q *Queues) FD() int { return q.program.FD() }

// Pin makes pins the pinned prefixes, with their queues. Those that are new are there
// before those that are gone are not.
func (q *Queues) Pin(pins map[netip.Prefix]uint32) error {
	for p, queue := range pins {
		if was, ok := q.now[p]; ok && was == queue {
			continue
		}
		if err := q.pins.Put(keyOf(p), queue); err != nil {
			return fmt.Errorf("pinning %v to queue %d: %w", p, queue, err)
		}
		q.now[p] = queue
	}
	for p := range q.now {
		if _, stays := pins[p]; stays {
			continue
		}
		if err := q.pins.Delete(keyOf(p)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("no longer pinning %v: %w", p, err)
		}
		delete(q.now, p)
	}
	return nil
}

// Close frees the program and its table; an interface that uses them keeps them.
func (q *Queues) Close() error { return errors.Join(q.program.Close(), q.pins.Close()) }

// queuesProgram is the program, small enough to be written by hand. A packet
// begins with its IP header. On the stack:
//
//	-64 the first 44 bytes of the packet (IPv6 header and ports), or 24 (IPv4)
//	-20 the key: 128 bits
//	-16          of the destination's address
func queuesProgram(pins int) asm.Instructions {
	const packet, key = -64, -16
	load := func(offset, at, n int32, or string) asm.Instructions {
		return asm.Instructions{
			asm.Mov.Reg(asm.R1, asm.R6),
			asm.Mov.Imm(asm.R2, offset),
			asm.Mov.Reg(asm.R3, asm.RFP),
			asm.Add.Imm(asm.R3, at),
			asm.Mov.Imm(asm.R4, n),
			asm.FnSkbLoadBytes.Call(),
			asm.JNE.Imm(asm.R0, 0, or),
		}
	}
	// R8 gathers the hash: the exclusive or of all words of both addresses, which
	// does not change when they trade places, and the sum of the ports.
	gather := func(from, words int16) (out asm.Instructions) {
		out = append(out, asm.Mov.Imm(asm.R8, 0))
		for i := range words {
			out = append(out, asm.LoadMem(asm.R1, asm.RFP, from+4*i, asm.Word), asm.Xor.Reg(asm.R8, asm.R1))
		}
		return out
	}
	ports := func(at int16) asm.Instructions {
		return asm.Instructions{
			asm.LoadMem(asm.R1, asm.RFP, at, asm.Half),
			asm.LoadMem(asm.R2, asm.RFP, at+2, asm.Half),
			asm.Add.Reg(asm.R1, asm.R2),
			asm.Xor.Reg(asm.R8, asm.R1),
		}
	}
	join := func(parts ...asm.Instructions) (all asm.Instructions) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	const tcp, udp = 6, 17
	return join(
		asm.Instructions{
			asm.Mov.Reg(asm.R6, asm.R1),
			asm.Mov.Imm(asm.R8, 0),
			asm.StoreImm(asm.RFP, key-4, 128, asm.Word),
		},
		load(0, packet, 1, "spread"),
		asm.Instructions{
			asm.LoadMem(asm.R7, asm.RFP, packet, asm.Byte),
			asm.RSh.Imm(asm.R7, 4),
			asm.JEq.Imm(asm.R7, 4, "four"),
			asm.JNE.Imm(asm.R7, 6, "spread"),
		},
		load(24, key, 16, "spread"),
		load(0, packet, 44, "look"),
		gather(packet+8, 8),
		asm.Instructions{
			asm.LoadMem(asm.R1, asm.RFP, packet+6, asm.Byte),
			asm.JEq.Imm(asm.R1, tcp, "ports6"),
			asm.JNE.Imm(asm.R1, udp, "look"),
		},
		named("ports6", ports(packet+40)),
		asm.Instructions{asm.Ja.Label("look")},

		named("four", asm.Instructions{
			asm.StoreImm(asm.RFP, key, 0, asm.Word),
			asm.StoreImm(asm.RFP, key+4, 0, asm.Word),
			asm.StoreImm(asm.RFP, key+8, int64(int32(binary.NativeEndian.Uint32([]byte{0, 0, 0xff, 0xff}))), asm.Word),
		}),
		load(16, key+12, 4, "spread"),
		load(0, packet, 24, "look"),
		gather(packet+12, 2),
		asm.Instructions{
			asm.LoadMem(asm.R1, asm.RFP, packet, asm.Byte),
			asm.JNE.Imm(asm.R1, 0x45, "look"), // options before the ports
			asm.LoadMem(asm.R1, asm.RFP, packet+6, asm.Half),
			asm.And.Imm(asm.R1, int32(binary.NativeEndian.Uint16([]byte{0x3f, 0xff}))),
			asm.JNE.Imm(asm.R1, 0, "look"), // a fragment
			asm.LoadMem(asm.R1, asm.RFP, packet+9, asm.Byte),
			asm.JEq.Imm(asm.R1, tcp, "ports4"),
			asm.JNE.Imm(asm.R1, udp, "look"),
		},
		named("ports4", ports(packet+20)),

		named("look", asm.Instructions{
			asm.LoadMapPtr(asm.R1, pins),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, key-4),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "spread"),
			asm.LoadMem(asm.R0, asm.R0, 0, asm.Word),
			asm.Return(),
		}),
		named("spread", asm.Instructions{
			asm.Mov.Reg(asm.R0, asm.R8),
			asm.LoadImm(asm.R1, -0x61c8864680b583eb, asm.DWord),
			asm.Mul.Reg(asm.R0, asm.R1),
			asm.RSh.Imm(asm.R0, 40),
			asm.Return(),
		}),
	)
}

func named(symbol string, in asm.Instructions) asm.Instructions {
	in[0] = in[0].WithSymbol(symbol)
	return in
}
