package node

import (
	"context"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// serveIdentifiers answers on port 80 of every identifier held here. One socket
// serves all: IPV6_FREEBIND and a wildcard address let it take connections to
// whatever the AnyIP routes deliver, and who may ask what is the server's
// question on every request.
func (n *running) serveIdentifiers(ctx context.Context, fail context.CancelCauseFunc) {
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		e := raw.Control(func(fd uintptr) {
			for _, o := range [][2]int{{unix.IPV6_FREEBIND, 1}, {unix.IPV6_V6ONLY, 1}} {
				if err = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, o[0], o[1]); err != nil {
					return
				}
			}
		})
		if e != nil {
			return e
		}
		return err
	}}
	// Multipath TCP would need another kind of socket for sendfile and TCP_INFO.
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(ctx, "tcp6", "[::]:80")
	if err != nil {
		fail(fmt.Errorf("answer on identifiers: %w: stop the program that has port 80", err))
		return
	}
	stop := context.AfterFunc(ctx, func() { n.server.Close() })
	defer stop()
	u, err := lc.ListenPacket(ctx, "udp6", "[::]:80")
	if err != nil {
		l.Close()
		fail(fmt.Errorf("answer on identifiers over KCP: %w: stop the program that has UDP port 80", err))
		return
	}
	go func() {
		if err := n.server.ServeKCP(u.(*net.UDPConn)); err != nil && ctx.Err() == nil {
			fail(fmt.Errorf("answer on identifiers over KCP: %w", err))
		}
	}()
	if err := n.server.Serve(l); err != nil && ctx.Err() == nil {
		fail(fmt.Errorf("answer on identifiers: %w", err))
	}
}
