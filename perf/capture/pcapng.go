package capture

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// Writer writes a pcapng file of Ethernet frames, with nanoseconds and a comment
// for each. Source: draft-ietf-opsawg-pcapng, sections 4.1 to 4.3. A file is a
// sequence of blocks, each
//
//	0 type; 4 length of the block; 8 body, padded to four bytes; … length again
//
// here one section header (0x0a0d0d0a), one interface description (1) for each
// interface, and enhanced packets (6). Options stand at the end of a body: code
// and length, two bytes each, and the value padded to four; code 0 ends them.
// Little-endian throughout.
type Writer struct {
	w    io.Writer
	buf  []byte
	nics int
}

const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 6
	byteOrderMagic = 0x1a2b3c4d
	linkEthernet   = 1

	optEnd         = 0
	optComment     = 1
	optApplication = 4
	optName        = 2 // of an interface
	optResolution  = 9
	optFlags       = 2 // of a packet
)

// Direction is how a frame passed the interface.
type Direction uint32

// The directions, as pcapng's packet flags have them.
const (
	Unknown  Direction = 0
	Inbound  Direction = 1
	Outbound Direction = 2
)

// NewWriter begins a file by the named application, with one interface per name;
// packets refer to them by index.
func NewWriter(w io.Writer, application, comment string, interfaces ...string) (*Writer, error) {
	p := &Writer{w: w, nics: len(interfaces)}
	p.begin(blockSection)
	p.u32(byteOrderMagic)
	p.u16(1)
	p.u16(0)
	p.buf = binary.LittleEndian.AppendUint64(p.buf, ^uint64(0)) // length of the section: unknown
	p.option(optComment, []byte(comment))
	p.option(optApplication, []byte(application))
	if err := p.end(); err != nil {
		return nil, err
	}
	for _, name := range interfaces {
		p.begin(blockInterface)
		p.u16(linkEthernet)
		p.u16(0)
		p.u32(0) // no limit on the captured length
		p.option(optName, []byte(name))
		p.option(optResolution, []byte{9}) // units of 10^-9 s
		if err := p.end(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Packet writes one frame.
func (p *Writer) Packet(nic int, at time.Time, frame []byte, direction Direction, comment string) error {
	if nic < 0 || nic >= p.nics {
		return fmt.Errorf("write a packet of interface %d: the file has %d", nic, p.nics)
	}
	p.begin(blockPacket)
	p.u32(uint32(nic))
	ns := uint64(at.UnixNano())
	p.u32(uint32(ns >> 32))
	p.u32(uint32(ns))
	p.u32(uint32(len(frame)))
	p.u32(uint32(len(frame)))
	p.padded(frame)
	p.option(optComment, []byte(comment))
	if direction != Unknown {
		p.option(optFlags, binary.LittleEndian.AppendUint32(nil, uint32(direction)))
	}
	return p.end()
}

func (p *Writer) begin(kind uint32) {
	p.buf = binary.LittleEndian.AppendUint32(p.buf[:0], kind)
	p.u32(0) // the length, known at the end
}

func (p *Writer) u16(v uint16) { p.buf = binary.LittleEndian.AppendUint16(p.buf, v) }
func (p *Writer) u32(v uint32) { p.buf = binary.LittleEndian.AppendUint32(p.buf, v) }

func (p *Writer) padded(b []byte) {
	p.buf = append(p.buf, b...)
	for len(p.buf)%4 != 0 {
		p.buf = append(p.buf, 0)
	}
}

// option writes one option; an empty value is left out. A value of more than
// 65535 bytes is cut.
func (p *Writer) option(code uint16, value []byte) {
	if len(value) == 0 {
		return
	}
	value = value[:min(len(value), 1<<16-1)]
	p.u16(code)
	p.u16(uint16(len(value)))
	p.padded(value)
}

// end ends the options, completes the block's lengths and writes it.
func (p *Writer) end() error {
	p.u16(optEnd)
	p.u16(0)
	n := uint32(len(p.buf) + 4)
	binary.LittleEndian.PutUint32(p.buf[4:], n)
	p.u32(n)
	if _, err := p.w.Write(p.buf); err != nil {
		return fmt.Errorf("write the capture: %w", err)
	}
	return nil
}
