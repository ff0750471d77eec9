package tunnel

import (
	"bytes"
	"crypto/ecdh"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/tuntest"

	"dssn/dataplane/porttest"
)

// memoryBind is wireguard-go's socket, made of two channels.
type memoryBind struct {
	in, out chan []byte
	peer    netip.AddrPort
	mu      sync.Mutex
	closed  chan struct{} // made by Open
}

type memoryEndpoint netip.AddrPort

func (e memoryEndpoint) ClearSrc()           {}
func (e memoryEndpoint) SrcToString() string { return "" }
func (e memoryEndpoint) DstToString() string { return netip.AddrPort(e).String() }
func (e memoryEndpoint) DstToBytes() []byte  { b, _ := netip.AddrPort(e).MarshalBinary(); return b }
func (e memoryEndpoint) DstIP() netip.Addr   { return netip.AddrPort(e).Addr() }
func (e memoryEndpoint) SrcIP() netip.Addr   { return netip.Addr{} }

func (m *memoryBind) Open(uint16) ([]conn.ReceiveFunc, uint16, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	closed := make(chan struct{})
	m.closed = closed
	return []conn.ReceiveFunc{func(packets [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
		select {
		case b := <-m.in:
			sizes[0], eps[0] = copy(packets[0], b), memoryEndpoint(m.peer)
			return 1, nil
		case <-closed:
			return 0, net.ErrClosed
		}
	}}, 1, nil
}
func (m *memoryBind) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed != nil {
		close(m.closed)
		m.closed = nil
	}
	return nil
}
func (m *memoryBind) SetMark(uint32) error { return nil }
func (m *memoryBind) BatchSize() int       { return 1 }
func (m *memoryBind) Send(bufs [][]byte, _ conn.Endpoint) error {
	for _, b := range bufs {
		select {
		case m.out <- bytes.Clone(b):
		default: // lost, as on a wire
		}
	}
	return nil
}
func (m *memoryBind) ParseEndpoint(s string) (conn.Endpoint, error) {
	a, err := netip.ParseAddrPort(s)
	return memoryEndpoint(a), err
}

// wireguard-go's device and ours in memory, with a pre-shared key, whoever
// begins.
func TestInMemoryWithWireguardGo(t *testing.T) {
	for _, weBegin := range []bool{true, false} {
		t.Run(fmt.Sprintf("we begin: %v", weBegin), func(t *testing.T) {
			w := newWorld(t, 1)
			us, them := w.add(), w.add() // them for its key and addresses only
			w.meet(us, them, Key{9}, 0)
			ch := tuntest.NewChannelTUN()
			bind := &memoryBind{in: make(chan []byte, 64), out: make(chan []byte, 64), peer: us.wan}
			dev := device.NewDevice(ch.TUN(), bind, device.NewLogger(device.LogLevelError, ""))
			defer dev.Close()
			private, err := ecdh.X25519().NewPrivateKey(them.key[:])
			if err != nil {
				t.Fatal(err)
			}
			us1, psk := us.Public(), Key{9}
			if err := dev.IpcSet(fmt.Sprintf("private_key=%s\npublic_key=%s\npreshared_key=%s\nendpoint=%v\nallowed_ip=%v/128\n",
				hex.EncodeToString(private.Bytes()), hex.EncodeToString(us1[:]), hex.EncodeToString(psk[:]), us.wan, us.address)); err != nil {
				t.Fatal(err)
			}
			if err := dev.Up(); err != nil {
				t.Fatal(err)
			}

			// What leaves our worker goes to the device, and the other way.
			w.hosts = []*host{us}
			w.onTheWire = func(_ *host, d porttest.Datagram) bool {
				select {
				case bind.in <- bytes.Clone(d.Data):
				default:
				}
				return false
			}
			began := time.Now()
			pump := func() {
				w.now = time.Second + time.Since(began)
				for {
					select {
					case b := <-bind.out:
						us.outside.In = append(us.outside.In, porttest.Datagram{Data: b, Peer: them.wan})
						continue
					case <-time.After(time.Millisecond):
					}
					break
				}
				w.turn(us)
			}
			ping := func(n int) []byte {
				w.say(us, them, n)
				p := us.inside.In[len(us.inside.In)-1].Data
				us.inside.In = us.inside.In[:len(us.inside.In)-1]
				return p
			}
			toThem := func(n int) {
				p := ping(n)
				us.inside.In = append(us.inside.In, porttest.Packet{Data: p})
				for range 5000 {
					pump()
					select {
					case got := <-ch.Inbound:
						if !bytes.Equal(got, p) {
							t.Fatalf("they got %x, want %x", got, p)
						}
						return
					default:
					}
				}
				t.Fatal("nothing arrived there")
			}
			toUs := func(n int) {
				p := ping(n)
				copy(p[8:24], them.address.AsSlice())
				copy(p[24:40], us.address.AsSlice())
				ch.Outbound <- p
				for range 5000 {
					pump()
					if len(us.inside.Out) > 0 {
						if got := us.inside.Out[0].Data; !bytes.Equal(got, p) {
							t.Fatalf("we got %x, want %x", got, p)
						}
						us.inside.Out = nil
						return
					}
				}
				t.Fatal("nothing arrived here")
			}
			if weBegin {
				toThem(1)
				toUs(2)
			} else {
				toUs(1)
				toThem(2)
			}
			// A new session while the old one lives; wireguard-go takes one
			// initiation in twenty milliseconds.
			for range 30 {
				pump()
			}
			w.apply(us, us.Machine.Want(Now{Mono: w.now + 10*time.Second, Wall: time.Now().Add(time.Second)}, them.Public(), 0, nil))
			for i := range 20 {
				toThem(10 + i)
				toUs(40 + i)
			}
			if len(us.laneOf(them.Public()).past) == 0 {
				t.Error("there was no second session")
			}
		})
	}
}
