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
	bareInterface          = "wgbare"
)

// Bench measures goodput through this product's tunnels beside plain TCP over
// the same links and beside wireguard-go as Debian packages it, all in one run
// on one network, the contenders taking turns. It needs iperf3, wireguard-go
// and wg.
func Bench(ctx context.Context, o BenchOptions, w io.Writer) (*Benchmark, error) {
	for _, tool := range []string{"iperf3", "wireguard-go", "wg"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("the benchmark needs the program %s: install it with `apt-get install iperf3 wireguard-go wireguard-tools`", tool)
		}
	}
	l, sh, err := raise(BootOptions{ID: fmt.Sprintf("bench%d", os.Getpid()%100000), Topology: []byte(benchTopology),
		Holder: "a", Consumer: "b", MTU: o.MTU, Program: o.Program}, w)
	if err != nil {
		return nil, err
	}
	defer l.Down()
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
			fmt.Fprintf(w, "round %d  %-28s %8.2f Gbit/s\n", round+1, t.name, float64(rate)/1e9)
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

// The inside addresses of bare wireguard-go.
var bareSource, bareSink = netip.MustParseAddr("fd77::1"), netip.MustParseAddr("fd77::2")

// prepare gives every contender its way; the second target is bare wireguard-go.
func (b *bench) prepare(ctx context.Context) ([]target, error) {
	if err := b.plainRoutes(); err != nil {
		return nil, fmt.Errorf("route plain TCP: %w", err)
	}
	if err := b.bareTunnel(ctx); err != nil {
		return nil, fmt.Errorf("start bare wireguard-go: %w", err)
	}
	from, to, err := b.ownTunnel(ctx)
	if err != nil {
		return nil, err
	}
	return []target{
		{"plain TCP, same links", b.linkAddress(benchSource), b.linkAddress(benchSink)},
		{"bare wireguard-go", bareSource, bareSink},
		{"DSSN tunnel, reserved", from, to},
	}, nil
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

// bareTunnel joins the terminals by wireguard-go, configured by hand.
func (b *bench) bareTunnel(ctx context.Context) error {
	ends := []struct {
		node  string
		inner netip.Addr
		key   *ecdh.PrivateKey
	}{{node: benchSource, inner: bareSource}, {node: benchSink, inner: bareSink}}
	for i := range ends {
		var err error
		if ends[i].key, err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
			return err
		}
	}
	for i, e := range ends {
		peer := ends[1-i]
		if _, err := b.lab.Start("bare-"+e.node, e.node, "wireguard-go", "-f", bareInterface); err != nil {
			return err
		}
		keyFile := filepath.Join(b.lab.dir, "bare-"+e.node+".key")
		if err := os.WriteFile(keyFile, []byte(base64.StdEncoding.EncodeToString(e.key.Bytes())), 0o600); err != nil {
			return err
		}
		set := line{node: e.node, quiet: true, args: []string{"wg", "set", bareInterface, "listen-port", "51999", "private-key", keyFile,
			"peer", base64.StdEncoding.EncodeToString(peer.key.PublicKey().Bytes()), "allowed-ips", peer.inner.String() + "/128",
			"endpoint", netip.AddrPortFrom(b.linkAddress(peer.node), 51999).String()}}
		if err := until(ctx, 5*time.Second, func() error { _, err := b.sh.run(ctx, set); return err }); err != nil {
			return err
		}
		n, _ := b.lab.Plan.Node(e.node)
		err := withHandle(n.Namespace, func(h *netlink.Handle) error {
			link, err := h.LinkByName(bareInterface)
			if err != nil {
				return err
			}
			if err := h.LinkSetMTU(link, b.MTU-80); err != nil {
				return err
			}
			if err := addAddress(h, Address{bareInterface, netip.PrefixFrom(e.inner, 64)}); err != nil {
				return err
			}
			return h.LinkSetUp(link)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// until tries f until it works, with a last error after limit.
func until(ctx context.Context, limit time.Duration, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// iperf measures one TCP stream from the source to the sink.
func (b *bench) iperf(ctx context.Context, t target) (dssn.Bandwidth, error) {
	server := b.sh.begin(ctx, line{node: benchSink, quiet: true, args: []string{"iperf3", "-s", "-1", "-B", t.to.String()}})
	var out string
	err := until(ctx, 5*time.Second, func() (err error) {
		out, err = b.sh.run(ctx, line{node: benchSource, quiet: true,
			args: []string{"iperf3", "-J", "-O", "1", "-t", fmt.Sprint(int(b.Seconds.Seconds())), "-B", t.from.String(), "-c", t.to.String()}})
		return err
	})
	if err != nil {
		return 0, err
	}
	<-server
	var r struct {
		End struct {
			Received struct {
				Rate float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.End.Received.Rate <= 0 {
		return 0, fmt.Errorf("read what iperf3 wrote (%v): %.200s", err, out)
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
	fmt.Fprintf(w, "%-28s %24s   %s\n", "one TCP stream", "Gbit/s median (least–most)", "of bare wireguard-go")
	for _, c := range r.Contenders {
		gbps := make([]float64, len(c.Rates))
		for i, v := range c.Rates {
			gbps[i] = float64(v) / 1e9
		}
		lo, mid, hi := Spread(gbps)
		rlo, rmid, rhi := Spread(c.OfBare)
		fmt.Fprintf(w, "%-28s %10.2f (%.2f–%.2f) %14.2f (%.2f–%.2f)\n", c.Name, mid, lo, hi, rmid, rlo, rhi)
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
