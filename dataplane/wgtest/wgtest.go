// Package wgtest is wireguard-go's device as a dataplane.Engine: the oracle that
// tests put opposite the product's engine. No product code imports it.
//
// It is a device and a TUN with meters between them, and sets no address and
// no route. Its methods may be called from any goroutine.
//
// Roaming is off: a peer's endpoint is what the tables say, whatever address
// its packets come from, because the path to it is written below the socket.
package wgtest

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"

	"dssn"
	"dssn/dataplane"
	"dssn/dataplane/aead"
	"dssn/dataplane/meter"
)

// Options describe an engine.
type Options struct {
	// Interface is the TUN's name; a %d in it becomes a free number.
	Interface string
	// MTU of the TUN in bytes; zero means 1420.
	MTU int
	// PrivateKey is this node's tunnel key. It is required.
	PrivateKey dataplane.Key
	// ListenPort is the UDP port, zero for any free one.
	ListenPort uint16
	// Counters says where the counter of a reservation lives; see
	// meter.Registry.KeepIn. Nil means on the heap.
	Counters func(dssn.ReservationID, int) *meter.Counter
	// Logger hears what the device has to say; nil means nobody.
	Logger *slog.Logger
}

// Engine is a running wireguard-go device with its TUN.
type Engine struct {
	device   *device.Device
	inside   *inside
	name     string
	offload  bool
	mtu      int
	registry *meter.Registry

	mu     sync.Mutex        // guards tables and orders Publish and Close
	tables *dataplane.Tables // in force; never nil
	closed bool
}

var _ dataplane.Engine = (*Engine)(nil)

// Open creates the TUN, binds the port and starts the device, all in the
// network namespace of the calling thread. The engine has no peers until
// Publish.
func Open(o Options) (*Engine, error) {
	if o.PrivateKey == (dataplane.Key{}) {
		return nil, fmt.Errorf("open tunnel engine on %s: no private key given", o.Interface)
	}
	if o.MTU == 0 {
		o.MTU = device.DefaultMTU
	}
	link, err := tun.CreateTUN(o.Interface, o.MTU)
	if err != nil {
		return nil, fmt.Errorf("create TUN interface %s: %w", o.Interface, err)
	}
	name, err := link.Name()
	if err == nil {
		err = bringUp(name)
	}
	if err != nil {
		link.Close()
		return nil, fmt.Errorf("bring up TUN interface %s: %w", o.Interface, err)
	}
	e := &Engine{
		name:     name,
		offload:  link.BatchSize() > 1,
		mtu:      o.MTU,
		registry: meter.NewRegistry(1),
		tables:   &dataplane.Tables{},
	}
	e.registry.KeepIn(o.Counters)
	e.inside = newInside(link)
	e.device = device.NewDevice(e.inside, conn.NewStdNetBind(), logger(o.Logger))
	// Every peer is created with an endpoint and keeps it.
	e.device.DisableSomeRoamingForBrokenMobileSemantics()
	err = e.device.IpcSet(fmt.Sprintf("private_key=%x\nlisten_port=%d\n", o.PrivateKey[:], o.ListenPort))
	if err == nil {
		err = e.device.Up()
	}
	if err != nil {
		e.Close()
		return nil, fmt.Errorf("start tunnels on UDP port %d: %w", o.ListenPort, err)
	}
	return e, nil
}

// logger gives the device's two levels a place among ours.
func logger(l *slog.Logger) *device.Logger {
	if l == nil {
		return &device.Logger{Verbosef: device.DiscardLogf, Errorf: device.DiscardLogf}
	}
	return &device.Logger{
		Verbosef: func(f string, a ...any) { l.Debug(strings.TrimSpace(fmt.Sprintf(f, a...)), "component", "wireguard") },
		Errorf:   func(f string, a ...any) { l.Warn(strings.TrimSpace(fmt.Sprintf(f, a...)), "component", "wireguard") },
	}
}

// Name returns the interface's name.
func (e *Engine) Name() string { return e.name }

// Publish implements dataplane.Engine. It tells the device only what changed,
// so that sessions with peers that stay go on. Peers come before the new
// meters and leave after them: a packet that a meter of these tables counts
// has its peer.
func (e *Engine) Publish(t *dataplane.Tables) error {
	if err := t.Check(); err != nil {
		return err
	}
	for _, p := range t.Peers {
		if p.Suite != 0 && p.Suite != aead.ChaCha20Poly1305 {
			return fmt.Errorf("publish tables %d: wireguard-go has no %v for peer %v", t.Generation, p.Suite, p.Key)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return fmt.Errorf("publish tables %d: the engine on %s is closed", t.Generation, e.name)
	}
	joins, leaves := changes(e.tables, t)
	if err := e.set(joins); err != nil {
		// The device keeps what came before the line it refused: take it back.
		back, left := changes(t, e.tables)
		e.set(back)
		e.set(left)
		return fmt.Errorf("publish tables %d on %s: %w", t.Generation, e.name, err)
	}
	e.inside.publish(e.inside.compile(t, e.registry))
	e.tables = t
	if err := e.set(leaves); err != nil {
		return fmt.Errorf("remove what tables %d no longer hold from %s: %w", t.Generation, e.name, err)
	}
	return nil
}

func (e *Engine) set(config string) error {
	if config == "" {
		return nil
	}
	return e.device.IpcSet(config)
}

// Counts implements dataplane.Engine.
func (e *Engine) Counts(dst []dataplane.Count) []dataplane.Count { return e.registry.Counts(dst) }

// Drops implements dataplane.Engine. It knows the drops before the device; the
// device names none of its own.
func (e *Engine) Drops() map[string]uint64 { return e.inside.drops() }

// Obtained implements dataplane.Engine.
func (e *Engine) Obtained() dataplane.Obtained {
	e.mu.Lock()
	defer e.mu.Unlock()
	o := dataplane.Obtained{
		Engine:       "wireguard-go device",
		Inside:       "TUN " + e.name,
		Outside:      "UDP socket",
		Cipher:       "ChaCha20-Poly1305",
		PresharedKey: len(e.tables.Peers) > 0,
		MTU:          e.mtu,
	}
	if e.offload {
		o.Inside += " with segmentation offload"
		o.Outside += " with GSO/GRO where the kernel has it"
	}
	for _, p := range e.tables.Peers {
		if p.PresharedKey == (dataplane.Key{}) {
			o.PresharedKey = false
		}
	}
	return o
}

// Close stops the device; the TUN disappears with it.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil
	}
	e.closed = true
	e.device.Close() // closes the TUN too
	return nil
}
