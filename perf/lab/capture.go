package lab

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"dssn"
	"dssn/perf/wire"
)

// Frame is a frame that was seen on a link; Data is valid until the next one.
type Frame struct {
	At   time.Time
	Way  int // 0 along the wire's Ends, 1 back
	Data []byte
	// Fate is what an emulated wire does to the frame; empty on a plain link.
	Fate string
}

// Capture is a link that is being watched.
type Capture struct {
	Wire Wire
	// Ways are the names of both directions, "a>b" and "b>a".
	Ways [2]string
	// Blind says why some frames may not be seen; empty if all are.
	Blind string

	read   func(*Frame) error
	close  func() error
	missed func() uint64
}

// Capture begins to watch a link. An emulated wire shows every frame as it
// enters, and what becomes of it; a plain link shows what the first of its ends
// sends and receives by way of its kernel.
func (l *Lab) Capture(link string) (*Capture, error) {
	w, err := l.Plan.Wire(link)
	if err != nil {
		return nil, err
	}
	c := &Capture{Wire: w, Ways: [2]string{w.Ends[0].Node + ">" + w.Ends[1].Node, w.Ends[1].Node + ">" + w.Ends[0].Node}}
	if len(w.Emulated) > 0 {
		return c, l.tapWire(c)
	}
	return c, l.openPacketSocket(c)
}

// Next waits for the next frame. It ends with io.EOF when ctx does.
func (c *Capture) Next(ctx context.Context, f *Frame) error {
	for {
		if ctx.Err() != nil {
			return io.EOF
		}
		err := c.read(f)
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
}

// Missed is how many frames passed that Next was too slow for.
func (c *Capture) Missed() uint64 { return c.missed() }

// Close ends the watch.
func (c *Capture) Close() error { return c.close() }

// captureStep is how long a read waits before it looks at ctx again.
const captureStep = 100 * time.Millisecond

// tapWire asks the program of the wires for copies.
func (l *Lab) tapWire(c *Capture) error {
	conn, r, err := l.dialWires(wireRequest{Do: "tap", Wire: c.Wire.Name})
	if err != nil {
		return err
	}
	var a wireReply
	if err := readReply(r, &a); err != nil {
		conn.Close()
		return err
	}
	var missed uint64
	head, data := make([]byte, tapHeader), make([]byte, 1<<16)
	got := 0 // of head and frame together: a deadline may fall between
	c.close = conn.Close
	c.missed = func() uint64 { return missed }
	c.read = func(f *Frame) error {
		conn.SetReadDeadline(time.Now().Add(captureStep))
		if err := fill(r, head, &got, 0); err != nil {
			return wiresGone(err)
		}
		n := int(binary.BigEndian.Uint32(head))
		if n > len(data) {
			return fmt.Errorf("the program of the lab's wires sent a frame of %d bytes", n)
		}
		if err := fill(r, data[:n], &got, tapHeader); err != nil {
			return wiresGone(err)
		}
		got = 0
		missed = binary.BigEndian.Uint64(head[32:])
		*f = Frame{At: time.Unix(0, int64(binary.BigEndian.Uint64(head[8:]))), Way: int(head[4] & 1), Data: data[:n], Fate: fate(head)}
		return nil
	}
	return nil
}

// fill reads b, of which got−before bytes are there already.
func fill(r *bufio.Reader, b []byte, got *int, before int) error {
	for *got < before+len(b) {
		n, err := r.Read(b[max(0, *got-before):])
		*got += n
		if err != nil {
			return err
		}
	}
	return nil
}

func wiresGone(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("the program of the lab's wires has ended: the lab was taken down")
	}
	return err
}

// fate reads a tap's header.
func fate(head []byte) string {
	why, copies, flags := wire.Reason(head[5]), head[6], head[7]
	if why != wire.Kept {
		if why >= wire.Reasons {
			return "dropped"
		}
		return "dropped: " + why.String()
	}
	text := fmt.Sprintf("out after %v", time.Duration(binary.BigEndian.Uint64(head[16:])).Round(time.Microsecond))
	if copies == 2 {
		text += ", twice"
	}
	if flags&tapCorrupted != 0 {
		text += ", with one bit flipped"
	}
	return text
}

// openPacketSocket watches the first end of a plain link.
func (l *Lab) openPacketSocket(c *Capture) error {
	end := c.Wire.Ends[0]
	n, err := l.Plan.Node(end.Node)
	if err != nil {
		return err
	}
	fd := -1
	err = inNamespace(n.Namespace, func() (err error) {
		nic, err := net.InterfaceByName(end.Interface)
		if err != nil {
			return err
		}
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
		step := unix.NsecToTimeval(int64(captureStep))
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &step)
		const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // network byte order
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: nic.Index})
	})
	if err == nil {
		err = withHandle(n.Namespace, func(h *netlink.Handle) error {
			link, err := h.LinkByName(end.Interface)
			if err == nil && link.Attrs().Xdp != nil && link.Attrs().Xdp.Attached {
				c.Blind = fmt.Sprintf("a program in the driver of %s at %s forwards frames that its kernel never sees: they are missing here; an emulated wire shows them", end.Interface, end.Node)
			}
			return err
		})
	}
	if err != nil {
		if fd >= 0 {
			unix.Close(fd)
		}
		return fmt.Errorf("watch %s of %s: %w", end.Interface, end.Node, err)
	}
	c.close = func() error { return unix.Close(fd) }
	var missed uint64
	c.missed = func() uint64 {
		if s, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			missed += uint64(s.Drops)
		}
		return missed
	}
	data, control := make([]byte, 1<<17), make([]byte, 128)
	c.read = func(f *Frame) error { return readPacket(fd, data, control, f) }
	return nil
}

func readPacket(fd int, data, control []byte, f *Frame) error {
	n, cn, _, from, err := unix.Recvmsg(fd, data, control, 0)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return os.ErrDeadlineExceeded
	case errors.Is(err, unix.ENETDOWN):
		return os.ErrDeadlineExceeded // cut; it may come back
	case err != nil:
		return fmt.Errorf("watch the link: %w", err)
	}
	*f = Frame{At: time.Now(), Data: data[:n]}
	if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Pkttype != unix.PACKET_OUTGOING {
		f.Way = 1
	}
	if messages, err := unix.ParseSocketControlMessage(control[:cn]); err == nil {
		for _, m := range messages {
			if m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= int(unsafe.Sizeof(unix.Timespec{})) {
				f.At = time.Unix(0, (*unix.Timespec)(unsafe.Pointer(&m.Data[0])).Nano())
			}
		}
	}
	return nil
}

// SIDNames returns which node each SID stands for, by the topology and by what
// the nodes of the lab were told when they joined.
func (l *Lab) SIDNames() map[dssn.SID]string {
	names := map[dssn.SID]string{}
	for i := range l.Graph.Nodes() {
		if n := l.Graph.Node(i); n.SID != 0 {
			names[n.SID] = n.Name
		}
	}
	for _, n := range l.Plan.Nodes {
		var identity struct {
			Name string   `json:"name"`
			SID  dssn.SID `json:"sid"`
		}
		text, err := os.ReadFile(filepath.Join(l.StateOf(n.Name), "node.json"))
		if err == nil && json.Unmarshal(text, &identity) == nil && identity.SID != 0 {
			names[identity.SID] = n.Name
		}
	}
	return names
}
