package softport

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"dssn/dataplane"
)

// The configuration protocol that `wg` speaks: lines of key=value, an empty
// line at the end, answered by errno=N. A set is read whole before any of it is
// done, so that one with a mistake in it changes nothing.

// errorNumber is an error with the number that the protocol answers with.
type errorNumber struct {
	number unix.Errno
	error
}

func refuse(n unix.Errno, format string, args ...any) error {
	return errorNumber{n, fmt.Errorf(format, args...)}
}

// ServeConfig answers set and get requests on c until it ends or sends
// something else.
func (e *Engine) ServeConfig(c io.ReadWriter) error {
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		var answer string
		switch line {
		case "set=1\n":
			err = e.Configure(r)
		case "get=1\n":
			if _, err = r.ReadString('\n'); err == nil {
				answer = e.Configuration()
			}
		default:
			if side, ok := strings.CutPrefix(strings.TrimSpace(line), "trace="); ok {
				answer, err = e.answerTrace(side, r)
				break
			}
			return fmt.Errorf("serve configuration: %q is neither get=1 nor set=1", strings.TrimSpace(line))
		}
		number := unix.Errno(0)
		if err != nil {
			number = unix.EINVAL
			var n errorNumber
			if errors.As(err, &n) {
				number = n.number
			}
			e.log.Error("configuration refused", "error", err)
		}
		if _, err := fmt.Fprintf(c, "%serrno=%d\n\n", answer, -int(number)); err != nil {
			return err
		}
	}
}

// Configuration describes the engine and its peers in the protocol's words.
func (e *Engine) Configuration() string {
	var b strings.Builder
	e.control.do(func() {
		if e.private != (dataplane.Key{}) {
			fmt.Fprintf(&b, "private_key=%x\n", e.private[:])
		}
		fmt.Fprintf(&b, "listen_port=%d\n", e.port)
		if e.mark != 0 {
			fmt.Fprintf(&b, "fwmark=%d\n", e.mark)
		}
		for _, k := range e.order {
			p := e.peers[k]
			fmt.Fprintf(&b, "public_key=%x\npreshared_key=%x\nprotocol_version=1\n", k[:], p.PresharedKey[:])
			if a := p.endpoint(); a.IsValid() {
				fmt.Fprintf(&b, "endpoint=%v\n", a)
			}
			var last time.Time
			if e.machine != nil {
				last = e.machine.State(k).LastHandshake
			}
			sent, received := p.bytes()
			var sec, nsec int64
			if !last.IsZero() {
				sec, nsec = last.Unix(), int64(last.Nanosecond())
			}
			fmt.Fprintf(&b, "last_handshake_time_sec=%d\nlast_handshake_time_nsec=%d\ntx_bytes=%d\nrx_bytes=%d\npersistent_keepalive_interval=%d\n",
				sec, nsec, sent, received, int(p.Keepalive/time.Second))
			for _, a := range p.Allowed {
				fmt.Fprintf(&b, "allowed_ip=%v\n", a)
			}
		}
	})
	return b.String()
}

// change is a whole set request.
type change struct {
	private  *dataplane.Key
	port     *uint16
	mark     *uint32
	replace  bool
	peers    []peerChange
	explicit bool // a peer section has begun
}

type peerChange struct {
	key        dataplane.Key
	remove     bool
	updateOnly bool
	psk        *dataplane.Key
	endpoint   *netip.AddrPort
	keepalive  *time.Duration
	replaceIPs bool
	ips        []ipChange
}

type ipChange struct {
	prefix netip.Prefix
	remove bool
}

// Configure reads a set request up to its empty line or the end, and carries it
// out: all of it, or after an error in it nothing.
func (e *Engine) Configure(r *bufio.Reader) error {
	var c change
	for {
		line, err := r.ReadString('\n')
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			if err != nil && !errors.Is(err, io.EOF) {
				return refuse(unix.EIO, "read configuration: %w", err)
			}
			break
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			return refuse(unix.EPROTO, "read configuration: %q has no =", line)
		}
		if parseErr := c.line(name, value); parseErr != nil {
			return refuse(unix.EINVAL, "read configuration: %s: %w", name, parseErr)
		}
		if err != nil {
			break
		}
	}
	var err error
	if !e.control.do(func() { err = e.change(&c) }) {
		return refuse(unix.EIO, "configure %s: the engine is closed", e.Name())
	}
	return err
}

func (c *change) line(name, value string) (err error) {
	if name == "public_key" {
		k, err := parseKey(value)
		c.peers = append(c.peers, peerChange{key: k})
		c.explicit = true
		return err
	}
	if !c.explicit {
		switch name {
		case "private_key":
			c.private = new(dataplane.Key)
			*c.private, err = parseKey(value)
		case "listen_port":
			n, err := strconv.ParseUint(value, 10, 16)
			p := uint16(n)
			c.port = &p
			return err
		case "fwmark":
			n, err := strconv.ParseUint(value, 10, 32)
			m := uint32(n)
			c.mark = &m
			return err
		case "replace_peers":
			c.replace = true
			return wantTrue(value)
		default:
			return errors.New("no such setting of an interface")
		}
		return err
	}
	p := &c.peers[len(c.peers)-1]
	switch name {
	case "remove":
		p.remove = true
		return wantTrue(value)
	case "update_only":
		p.updateOnly = true
		return wantTrue(value)
	case "preshared_key":
		p.psk = new(dataplane.Key)
		*p.psk, err = parseKey(value)
	case "endpoint":
		p.endpoint = new(netip.AddrPort)
		*p.endpoint, err = netip.ParseAddrPort(value)
	case "persistent_keepalive_interval":
		n, err := strconv.ParseUint(value, 10, 16)
		d := time.Duration(n) * time.Second
		p.keepalive = &d
		return err
	case "replace_allowed_ips":
		p.replaceIPs = true
		p.ips = nil
		return wantTrue(value)
	case "allowed_ip":
		text, remove := strings.CutPrefix(value, "-")
		prefix, err := netip.ParsePrefix(text)
		p.ips = append(p.ips, ipChange{prefix.Masked(), remove})
		return err
	case "protocol_version":
		if value != "1" {
			return errors.New("only version 1 is spoken here")
		}
	default:
		return errors.New("no such setting of a peer")
	}
	return err
}

func wantTrue(v string) error {
	if v != "true" {
		return fmt.Errorf("got %q, want true", v)
	}
	return nil
}

func parseKey(s string) (k dataplane.Key, err error) {
	b, err := hex.DecodeString(s)
	if err == nil && len(b) != len(k) {
		err = fmt.Errorf("a key has %d bytes, not %d", len(k), len(b))
	}
	copy(k[:], b)
	return k, err
}

// change carries c out on the control goroutine.
func (e *Engine) change(c *change) error {
	if c.private != nil {
		if err := e.setPrivateKey(*c.private); err != nil {
			return refuse(unix.EINVAL, "set the private key: %w", err)
		}
	}
	if c.port != nil && *c.port != e.port || c.mark != nil && *c.mark != e.mark {
		port, mark := e.port, e.mark
		if c.port != nil {
			port = *c.port
		}
		if c.mark != nil {
			mark = *c.mark
		}
		if err := e.rebind(port, mark); err != nil {
			return err
		}
	}
	if c.replace {
		for _, k := range slices.Clone(e.order) {
			e.drop(k)
		}
	}
	for i := range c.peers {
		if err := e.changePeer(&c.peers[i]); err != nil {
			return err
		}
	}
	e.compile()
	return nil
}

func (e *Engine) changePeer(c *peerChange) error {
	old := e.peers[c.key]
	switch {
	case c.remove:
		e.drop(c.key)
		return nil
	case old == nil && c.updateOnly:
		return nil
	case e.machine != nil && c.key == e.machine.Public():
		return nil // one configuration for all nodes: ourselves among the peers means nothing
	}
	p := dataplane.Peer{Key: c.key}
	if old != nil {
		p = old.Peer
		p.Endpoint = old.endpoint()
	}
	if c.psk != nil {
		p.PresharedKey = *c.psk
	}
	if c.endpoint != nil {
		p.Endpoint = *c.endpoint
	}
	if c.keepalive != nil {
		p.Keepalive = *c.keepalive
	}
	if c.replaceIPs {
		p.Allowed = nil
	}
	p.Allowed = slices.Clone(p.Allowed)
	for _, a := range c.ips {
		p.Allowed = slices.DeleteFunc(p.Allowed, func(q netip.Prefix) bool { return q == a.prefix })
		if !a.remove {
			e.takeFromOthers(c.key, a.prefix)
			p.Allowed = append(p.Allowed, a.prefix)
		}
	}
	if err := e.put(p); err != nil {
		return refuse(unix.EINVAL, "%w", err)
	}
	return nil
}

// takeFromOthers leaves a prefix to one peer.
func (e *Engine) takeFromOthers(k dataplane.Key, prefix netip.Prefix) {
	for other, p := range e.peers {
		if other != k && slices.Contains(p.Allowed, prefix) {
			p.Allowed = slices.DeleteFunc(slices.Clone(p.Allowed), func(q netip.Prefix) bool { return q == prefix })
		}
	}
}
