package lab

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"dssn"
)

// BenchFormat names the JSON of Bench.
const BenchFormat = "dssn-lab-bench/1"

// BenchOptions say how the tunnels are measured.
type BenchOptions struct {
	Rounds  int           // of all contenders, interleaved
	Seconds time.Duration // each measurement, after one second of warming up
	MTU     int
	Program string
	// WireGuard is the wireguard-go program to measure against; empty means the
	// one in the path. If there is another in the path, it is measured too.
	WireGuard string
}

// Benchmark is what Bench found. Rates are TCP payload, one stream, holder to
// consumer.
type Benchmark struct {
	Format     string      `json:"format"`
	Command    string      `json:"command"`
	At         time.Time   `json:"at"`
	Host       Host        `json:"host"`
	Contenders []Contender `json:"contenders"`
}

// Contender is one way to carry the same bytes over the same links.
type Contender struct {
	Name  string           `json:"name"`
	Rates []dssn.Bandwidth `json:"rates_bps"` // one per round
	// OfBare are the same rounds' rates divided by bare wireguard-go's.
	OfBare []float64 `json:"of_bare"`
}

// benchTopology is two hubs with one fibre; a terminal stands behind each.
const benchTopology = `{"format":"te-topology/1","name":"bench","nodes":[{"name":"a","sid":"1"},{"name":"b","sid":"2"}],
"links":[{"src":0,"dst":1,"bps":400000000000,"latency_us":10},{"src":1,"dst":0,"bps":400000000000,"latency_us":10}]}`

const (
	benchSource, benchSink = "a-terminal", "b-terminal"
)

// Bench measures goodput through this product's tunnels beside plain TCP over
// the same links and beside wireguard-go as the caller chose it, all in one run
// on one network, the contenders taking turns. It needs iperf3, wireguard-go
// and wg.
func Bench(ctx context.Context, o BenchOptions, w io.Writer) (*Benchmark, error) {
	tools := []string{"iperf3", "wg"}
	if o.WireGuard == "" {
		tools = append(tools, "wireguard-go")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("the benchmark needs the program %s: install it with `apt-get install iperf3 wireguard-go wireguard-tools`", tool)
		}
	}
	l, sh, err := raise(BootOptions{ID: fmt.Sprintf("bench%d", os.Getpid()%100000), Topology: []byte(benchTopology),
		Holder: "a", Consumer: "b", MTU: o.MTU, Program: o.Program}, w)
	if err != nil {
		return nil, err
	}
	defer func() {
		l.Down()
		leftovers, _ := filepath.Glob(fmt.Sprintf("/run/wireguard/wg[ab][ab]%d.sock", os.Getpid()%100000))
		for _, f := range leftovers { // of a wireguard-go that had no time to remove it
			os.Remove(f)
		}
	}()
	b := &bench{BenchOptions: o, lab: l, sh: sh}
	targets, err := b.prepare(ctx)
	if err != nil {
		return nil, err
	}
	result := &Benchmark{Format: BenchFormat, Command: "make bench-first-light", At: time.Now().UTC().Truncate(time.Second), Host: thisHost()}
	for _, t := range targets {
		result.Contenders = append(result.Contenders, Contender{Name: t.name})
	}
	for round := range o.Rounds {
		for i, t := range targets {
			rate, err := b.iperf(ctx, t)
			if err != nil {
				return nil, fmt.Errorf("measure %s, round %d: %w", t.name, round+1, err)
			}
			result.Contenders[i].Rates = append(result.Contenders[i].Rates, rate)
			fmt.Fprintf(w, "round %d  %-34s %8.2f Gbit/s\n", round+1, t.name, float64(rate)/1e9)
		}
	}
	for i := range result.Contenders {
		for round := range o.Rounds {
			bare := result.Contenders[1].Rates[round]
			result.Contenders[i].OfBare = append(result.Contenders[i].OfBare, float64(result.Contenders[i].Rates[round])/float64(bare))
		}
	}
	return result, nil
}

type bench struct {
	BenchOptions
	lab *Lab
	sh  *shell
}

// target is a contender's pair of addresses.
type target struct {
	name     string
	from, to netip.Addr
}

// prepare gives every contender its way; the second is the yardstick.
func (b *bench) prepare(ctx context.Context) ([]target, error) {
	if err := b.plainRoutes(); err != nil {
		return nil, fmt.Errorf("route plain TCP: %w", err)
	}
	targets := []target{{"plain TCP, same links", b.linkAddress(benchSource), b.linkAddress(benchSink)}}
	for i, p := range b.programs() {
		t, err := b.bareTunnel(ctx, i, p)
		if err != nil {
			return nil, fmt.Errorf("start %s: %w", p, err)
		}
		targets = append(targets, t)
	}
	from, to, err := b.ownTunnel(ctx)
	if err != nil {
		return nil, err
	}
	return append(targets, target{"DSSN tunnel, reserved", from, to}), nil
}

// programs are the wireguard-go programs to measure, the yardstick first.
func (b *bench) programs() (list []string) {
	if b.WireGuard != "" {
		list = append(list, b.WireGuard)
	}
	if p, err := exec.LookPath("wireguard-go"); err == nil {
		list = append(list, p)
	}
	return list
}

// linkAddress is a terminal's address on its access link.
func (b *bench) linkAddress(terminal string) netip.Addr {
	n, _ := b.lab.Plan.Node(terminal)
	return n.Addresses[0].Prefix.Addr()
}

// plainRoutes lets both access links reach each other through the two hubs.
func (b *bench) plainRoutes() error {
	for _, way := range [][3]string{{"a", "b", benchSink}, {"b", "a", benchSource}} {
		at, _ := b.lab.Plan.Node(way[0])
		next, _ := b.lab.Plan.Node(way[1])
		var via netip.Addr
		err := withHandle(next.Namespace, func(h *netlink.Handle) (err error) {
			via, err = linkLocal(h, "to-"+way[0])
			return err
		})
		if err != nil {
			return err
		}
		dst := netip.PrefixFrom(b.linkAddress(way[2]), 64)
		err = withHandle(at.Namespace, func(h *netlink.Handle) error {
			link, err := h.LinkByName("to-" + way[1])
			if err != nil {
				return err
			}
			return h.RouteReplace(&netlink.Route{Dst: ipNet(dst), Gw: via.AsSlice(), LinkIndex: link.Attrs().Index})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func linkLocal(h *netlink.Handle, name string) (netip.Addr, error) {
	link, err := h.LinkByName(name)
	if err != nil {
		return netip.Addr{}, err
	}
	list, err := h.AddrList(link, netlink.FAMILY_V6)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, a := range list {
		if ip, ok := netip.AddrFromSlice(a.IP); ok && ip.IsLinkLocalUnicast() {
			return ip, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("%s has no link-local address", name)
}

// bareTunnel joins the terminals by the i-th wireguard-go, configured by hand.
func (b *bench) bareTunnel(ctx context.Context, i int, program string) (target, error) {
	out, err := exec.Command(program, "--version").CombinedOutput()
	if err != nil {
		return target{}, err
	}
	version, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	port := uint16(51900 + i)
	ends := [2]bareEnd{{node: benchSource}, {node: benchSink}}
	for k := range ends {
		e := &ends[k]
		e.inner = netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x77, 7: byte(i), 15: byte(k + 1)})
		// wireguard-go's sockets are in one folder, whatever the namespace.
		e.iface = fmt.Sprintf("wg%c%c%d", 'a'+i, 'a'+k, os.Getpid()%100000)
		if e.key, err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
			return target{}, err
		}
	}
	for k, e := range ends {
		if err := b.bareNode(ctx, program, port, e, ends[1-k]); err != nil {
			return target{}, err
		}
	}
	// "wireguard-go v0.0.20250522": say which one it was.
	return target{strings.TrimSpace("bare " + version), ends[0].inner, ends[1].inner}, nil
}

// bareEnd is one end of a bare tunnel.
type bareEnd struct {
	node, iface string
	inner       netip.Addr
	key         *ecdh.PrivateKey
}

func (b *bench) bareNode(ctx context.Context, program string, port uint16, e, peer bareEnd) error {
	if _, err := b.lab.Start(e.iface, e.node, program, "-f", e.iface); err != nil {
		return err
	}
	keyFile := filepath.Join(b.lab.dir, e.iface+".key")
	if err := os.WriteFile(keyFile, []byte(base64.StdEncoding.EncodeToString(e.key.Bytes())), 0o600); err != nil {
		return err
	}
	set := line{node: e.node, quiet: true, args: []string{"wg", "set", e.iface, "listen-port", fmt.Sprint(port), "private-key", keyFile,
		"peer", base64.StdEncoding.EncodeToString(peer.key.PublicKey().Bytes()), "allowed-ips", peer.inner.String() + "/128",
		"endpoint", netip.AddrPortFrom(b.linkAddress(peer.node), port).String()}}
	if err := until(ctx, 5*time.Second, func() error { _, err := b.sh.run(ctx, set); return err }); err != nil {
		return err
	}
	n, _ := b.lab.Plan.Node(e.node)
	return withHandle(n.Namespace, func(h *netlink.Handle) error {
		link, err := h.LinkByName(e.iface)
		if err != nil {
			return err
		}
		if err := h.LinkSetMTU(link, b.MTU-80); err != nil {
			return err
		}
		if err := addAddress(h, Address{e.iface, netip.PrefixFrom(e.inner, 64)}); err != nil {
			return err
		}
		return h.LinkSetUp(link)
	})
}

// iperf measures one TCP stream from the source to the sink.
func (b *bench) iperf(ctx context.Context, t target) (dssn.Bandwidth, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, b.Seconds+20*time.Second, fmt.Errorf("iperf3 from %s to %s did not end", t.from, t.to))
	defer cancel() // also ends a server that nobody reached
	b.sh.begin(ctx, line{node: benchSink, quiet: true, args: []string{"iperf3", "-s", "-1", "-B", t.to.String()}})
	var rate dssn.Bandwidth
	err := until(ctx, 10*time.Second, func() error {
		out, err := b.sh.run(ctx, line{node: benchSource, quiet: true, args: []string{"iperf3", "-J", "-O", "1", "--connect-timeout", "2000",
			"-t", fmt.Sprint(int(b.Seconds.Seconds())), "-B", t.from.String(), "-c", t.to.String()}})
		if err == nil {
			rate, err = receivedRate(out)
		}
		return err
	})
	return rate, err
}

// receivedRate reads iperf3's JSON, which may say that it failed although the
// program ended well.
func receivedRate(text string) (dssn.Bandwidth, error) {
	var r struct {
		Error string `json:"error"`
		End   struct {
			Received struct {
				Rate float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return 0, fmt.Errorf("read what iperf3 wrote: %w", err)
	}
	if r.Error != "" || r.End.Received.Rate <= 0 {
		return 0, fmt.Errorf("iperf3 measured nothing: %s", r.Error)
	}
	return dssn.Bandwidth(r.End.Received.Rate), nil
}

// Spread returns the least, the median and the greatest of values.
func Spread(values []float64) (least, median, greatest float64) {
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	return s[0], (s[(n-1)/2] + s[n/2]) / 2, s[n-1]
}

// Print writes the benchmark as a table, with its conditions.
func (r *Benchmark) Print(w io.Writer) {
	fmt.Fprintf(w, "\n%s on %s\n%s\n\n", r.Command, r.At.Format(time.DateOnly), r.Host)
	fmt.Fprintf(w, "%-34s %24s   %s\n", "one TCP stream", "Gbit/s median (least–most)", "of the first bare one")
	for _, c := range r.Contenders {
		gbps := make([]float64, len(c.Rates))
		for i, v := range c.Rates {
			gbps[i] = float64(v) / 1e9
		}
		lo, mid, hi := Spread(gbps)
		rlo, rmid, rhi := Spread(c.OfBare)
		fmt.Fprintf(w, "%-34s %10.2f (%.2f–%.2f) %14.2f (%.2f–%.2f)\n", c.Name, mid, lo, hi, rmid, rlo, rhi)
	}
}

// Host is the machine that a figure was measured on.
type Host struct {
	CPU    string         `json:"cpu"`
	Cores  int            `json:"cores"`
	Memory dssn.ByteCount `json:"memory_bytes"`
	Kernel string         `json:"kernel"`
	Go     string         `json:"go"`
}

// String is the host in one line.
func (h Host) String() string {
	return fmt.Sprintf("%d cores of %s, %s of memory, Linux %s, %s", h.Cores, h.CPU, h.Memory, h.Kernel, h.Go)
}

// ownTunnel boots the product on the lab, publishes, grants and reserves, and
// returns the identifiers at both ends: data leaves the source from the
// dataset's identifier, so it is the reservation that carries it.
func (b *bench) ownTunnel(ctx context.Context) (from, to netip.Addr, err error) {
	if err := b.lab.bootAll(ctx, b.sh); err != nil {
		return from, to, err
	}
	dir := filepath.Join(b.lab.data, "published")
	if _, err := makeDataset(dir, dssn.MiB, 1); err != nil {
		return from, to, err
	}
	var record struct {
		ID dssn.DataID `json:"id"`
	}
	for _, l := range []line{
		{node: benchSource, value: &record, args: []string{"dssn", "publish", dir, "--name", "bench", "--grade", "1", "--category", "science"}},
		{node: benchSource, args: []string{"dssn", "grant", "", "--to", institution("b"), "--until", "1h"}},
		{node: benchSink, args: []string{"dssn", "reserve", "--to", "", "--committed", "1G", "--ceiling", "10G", "--class", "elastic"}},
	} {
		for i, a := range l.args {
			if a == "" {
				l.args[i] = record.ID.String()
			}
		}
		if _, err := b.sh.run(ctx, l); err != nil {
			return from, to, err
		}
	}
	// iperf3 cannot ask for an address that is only routed here; let anybody.
	n, _ := b.lab.Plan.Node(benchSource)
	err = inNamespace(n.Namespace, func() error {
		return os.WriteFile("/proc/sys/net/ipv6/ip_nonlocal_bind", []byte("1"), 0o644)
	})
	if err != nil {
		return from, to, err
	}
	s, err := b.sh.status(ctx)
	if err != nil {
		return from, to, err
	}
	for _, n := range s.Nodes {
		if n.Name == benchSink {
			to = n.Node.Addr()
		}
	}
	return record.ID.Addr(), to, nil
}
