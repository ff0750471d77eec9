package softport

import (
	"testing"

	"golang.org/x/sys/unix"

	"dssn/dataplane"
	"dssn/dataplane/enginetest"
)

// On kernels that join and cut no UDP for us every datagram travels by itself, and
// everything else is the same.
func TestEngineWithoutUDPOffloads(t *testing.T) {
	without := func(name string, private dataplane.Key, port uint16) (dataplane.Engine, error) {
		e, err := Open(Options{Interface: name, PrivateKey: private, ListenPort: port})
		if err != nil {
			return nil, err
		}
		off := make(chan error, 1)
		first := e.threads[0]
		first.worker.Do(func() {
			first.socket.gso.Store(false)
			first.socket.gro = false
			first.link.udp = false
			err := unix.SetsockoptInt(first.socket.fd, unix.SOL_UDP, udpGRO, 0)
			if err == nil {
				err = unix.IoctlSetInt(first.link.fd, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO4|unix.TUN_F_TSO6)
			}
			off <- err
		})
		if err := <-off; err != nil {
			t.Errorf("turn the offloads off: %v", err)
		}
		return e, nil
	}
	enginetest.Run(t, without, without)
	enginetest.Run(t, without, openDevice)
}
