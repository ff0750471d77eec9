package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"dssn"
	"dssn/content"
	"dssn/controller/southbound"
	"dssn/dataplane/nstest"
	"dssn/internal/need"
	"dssn/node/kernel"
)

// TestMain lets the test program be a node: a process of its own, in the
// namespace in which it is started.
func TestMain(m *testing.M) {
	if dir := os.Getenv("DSSN_TEST_NODE"); dir != "" {
		os.Exit(beNode(dir))
	}
	os.Exit(m.Run())
}

// testWorkers is how many workers a terminal of the tests has.
const testWorkers = 2

func beNode(dir string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if url := os.Getenv("DSSN_TEST_JOIN"); url != "" {
		links := strings.Split(os.Getenv("DSSN_TEST_LINKS"), ",")
		if _, err := Join(ctx, JoinOptions{URL: url, Token: os.Getenv("DSSN_TEST_TOKEN"), State: dir, Links: links, Logger: log}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if err := Run(ctx, Options{State: dir, Workers: testWorkers, Logger: log, Transit: Transit(os.Getenv("DSSN_TEST_TRANSIT"))}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// world is a network of nodes that have no controller: each has its identity
// and Assignment on disk, as after a restart.
//
//	       .-- north --.
//	west --+           +-- east        west and east are terminals behind
//	(hub w) `-- south --' (hub e)      the hubs w and e
type world struct {
	t      *testing.T
	caKey  ed25519.PrivateKey
	ca     []byte
	hosts  map[string]*host
	worldT worldTopology
}

type worldTopology struct {
	sids  map[string]dssn.SID
	links [][2]string
	next  map[string]map[string]string // from → to → neighbour
}

type host struct {
	name  string
	role  southbound.Role
	id    dssn.NodeID
	sid   dssn.SID
	keys  keys
	space *nstest.Namespace
	state string
	cmd   *exec.Cmd
	log   *bytes.Buffer
	a     *southbound.Assignment
	http  *http.Client
}

var testRegistrant = map[string]netip.Prefix{
	"west": netip.MustParsePrefix("3fff:d55:1:1::/64"),
	"east": netip.MustParsePrefix("3fff:d55:1:2::/64"),
}

func newWorld(t *testing.T) *world {
	need.Root(t)
	w := &world{t: t, hosts: map[string]*host{}, worldT: worldTopology{
		sids:  map[string]dssn.SID{"w": 0x11, "north": 0x12, "south": 0x13, "e": 0x14, "west": 0xa1, "east": 0xa2},
		links: [][2]string{{"west", "w"}, {"w", "north"}, {"w", "south"}, {"north", "e"}, {"south", "e"}, {"e", "east"}},
	}}
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w.caKey = key
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	if w.ca, err = x509.CreateCertificate(rand.Reader, template, template, pub, key); err != nil {
		t.Fatal(err)
	}
	for name, sid := range w.worldT.sids {
		w.addHost(name, sid)
	}
	for _, l := range w.worldT.links {
		nstest.Join(t, w.hosts[l[0]].space, w.hosts[l[1]].space, "to-"+l[1], "to-"+l[0])
	}
	w.hosts["w"].need(t)
	w.assign()
	return w
}

// need skips without the kernel feature that carriers need.
func (h *host) need(t *testing.T) {
	err := h.space.Do(func() error {
		k, err := kernel.Open("")
		if err != nil {
			return err
		}
		defer k.Close()
		return k.ProbeNextCSID()
	})
	need.Kernel(t, "seg6local next-csid", err)
}

func (w *world) addHost(name string, sid dssn.SID) {
	t := w.t
	h := &host{name: name, sid: sid, role: southbound.RoleBackbone, space: nstest.New(t), state: t.TempDir()}
	registrant := netip.MustParsePrefix("3fff:d55:1::/64")
	if r, ok := testRegistrant[name]; ok {
		h.role, registrant = southbound.RoleTerminal, r
	}
	s, err := openState(h.state)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if h.keys, err = s.loadKeys(); err != nil {
		t.Fatal(err)
	}
	if h.id, err = content.MintNode(registrant, h.keys.identity.Public().(ed25519.PublicKey), 0); err != nil {
		t.Fatal(err)
	}
	id := Identity{Name: name, Node: h.id, Role: h.role, SID: sid, Block: dssn.LabBlock, Institution: name, Registrant: registrant,
		Controllers: []string{"https://[::1]:9"}, Certificate: w.certificate(h), CA: w.ca, Links: []string{"to-*"}}
	if err := s.saveJSON(fileIdentity, id); err != nil {
		t.Fatal(err)
	}
	socket := s.path(fileSocket)
	h.http = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
	w.hosts[name] = h
}

func (w *world) certificate(h *host) []byte {
	name, _ := url.Parse("spiffe://dssn/node/" + h.id.String())
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(int64(h.sid)), URIs: []*url.URL{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)},
		&x509.Certificate{Subject: pkix.Name{CommonName: "test CA"}}, h.keys.identity.Public(), w.caKey)
	if err != nil {
		w.t.Fatal(err)
	}
	return der
}

// assign gives every node its Assignment: routes by hand, two paths between the
// terminals, and a reservation each way.
func (w *world) assign() {
	next := map[string]map[string][2]string{ // to → next hop and backup
		"w":     {"west": {"west"}, "north": {"north", ""}, "south": {"south", ""}, "e": {"north", "south"}, "east": {"north", "south"}},
		"e":     {"east": {"east"}, "north": {"north", ""}, "south": {"south", ""}, "w": {"north", "south"}, "west": {"north", "south"}},
		"north": {"w": {"w"}, "west": {"w"}, "e": {"e"}, "east": {"e"}, "south": {"w", "e"}},
		"south": {"w": {"w"}, "west": {"w"}, "e": {"e"}, "east": {"e"}, "north": {"w", "e"}},
	}
	for _, h := range w.hosts {
		a := &southbound.Assignment{Generation: 1, Node: h.id, SID: h.sid, Block: dssn.LabBlock, Steering: true}
		for _, l := range w.worldT.links {
			for i, end := range l {
				if end == h.name {
					o := w.hosts[l[1-i]]
					a.Neighbours = append(a.Neighbours, southbound.Neighbour{Node: o.id, Name: o.name, SID: o.sid})
				}
			}
		}
		for to, via := range next[h.name] {
			r := southbound.Route{Prefix: w.hosts[to].sid.Locator(dssn.LabBlock), Via: w.hosts[via[0]].id}
			if via[1] != "" {
				r.Backup = w.hosts[via[1]].id
			}
			a.Routes = append(a.Routes, r)
		}
		h.a = a
	}
	west, east := w.hosts["west"], w.hosts["east"]
	west.a.Routes = []southbound.Route{{Prefix: dssn.LabBlock, Via: w.hosts["w"].id}}
	east.a.Routes = []southbound.Route{{Prefix: dssn.LabBlock, Via: w.hosts["e"].id}}
	psk := make([]byte, 32)
	rand.Read(psk)
	w.pair(west, east, psk, [][]string{{"w", "north", "e"}, {"w", "south", "e"}})
	w.pair(east, west, psk, [][]string{{"e", "north", "w"}, {"e", "south", "w"}})
	for _, m := range []southbound.Meter{
		{Reservation: 1, From: west.id.DataID().Prefix(), To: east.id.DataID().Prefix()},
		{Reservation: 2, From: east.id.DataID().Prefix(), To: west.id.DataID().Prefix()},
	} {
		m.Committed, m.Ceiling, m.Allocated, m.Burst = 1e9, 1e9, 1e9, 1<<20
		for _, h := range []*host{west, east} {
			m.Ingress = m.From == h.id.DataID().Prefix()
			h.a.Meters = append(h.a.Meters, m)
		}
	}
	for _, h := range w.hosts {
		text, _ := json.Marshal(h.a)
		if err := os.WriteFile(filepath.Join(h.state, fileAssignment), text, 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) pair(h, peer *host, psk []byte, ways [][]string) {
	p := southbound.Peer{Node: peer.id, Name: peer.name, SID: peer.sid, TunnelKey: peer.keys.tunnel.PublicKey().Bytes(), PresharedKey: psk,
		Port: TunnelPort, Allowed: []netip.Prefix{peer.id.DataID().Prefix()}, Suite: southbound.SuiteAES256GCM}
	for k := range testWorkers {
		p.Lanes = append(p.Lanes, southbound.Lane{Here: k, There: k})
	}
	carrier := func(hops []string, last *host) dssn.Carrier {
		var sids []dssn.SID
		for _, hop := range hops {
			sids = append(sids, w.hosts[hop].sid)
		}
		c, err := dssn.NewCarrier(dssn.LabBlock, append(sids, last.sid)...)
		if err != nil {
			w.t.Fatal(err)
		}
		return c
	}
	for _, hops := range ways {
		back := []string{hops[2], hops[1], hops[0]}
		p.Paths = append(p.Paths, southbound.Path{Carrier: carrier(hops, peer), Return: carrier(back, h), Hops: append(append([]string{h.name}, hops...), peer.name)})
	}
	h.a.Peers = append(h.a.Peers, p)
}

// start runs a host's node as a process of its own.
func (h *host) start(t *testing.T, env ...string) {
	t.Helper()
	h.log = &bytes.Buffer{}
	h.cmd = exec.Command("/proc/self/exe")
	h.cmd.Env = append(append(os.Environ(), "DSSN_TEST_NODE="+h.state), env...)
	h.cmd.Stderr = h.log
	if err := h.space.Do(h.cmd.Start); err != nil {
		t.Fatalf("start %s: %v", h.name, err)
	}
	cmd, log := h.cmd, h.log
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() || os.Getenv("N1LOG") != "" {
			t.Logf("log of %s:\n%s", h.name, log)
		}
	})
}

// stop ends a host's process by a signal and returns how it ended.
func (h *host) stop(t *testing.T, sig os.Signal) error {
	t.Helper()
	h.cmd.Process.Signal(sig)
	return h.cmd.Wait()
}

func (w *world) startAll() {
	for _, h := range w.hosts {
		h.start(w.t)
	}
}

// get asks the local API.
func (h *host) get(path string, out any) error {
	resp, err := h.http.Get("http://node" + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

// eventually waits until ok, which is asked again and again.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never saw %s", what)
}

func (h *host) paths(t *testing.T) (p PeerPaths) {
	t.Helper()
	var list []PeerPaths
	if err := h.get("/local/paths", &list); err != nil || len(list) != 1 {
		return PeerPaths{}
	}
	return list[0]
}

// using returns the middle hop of the path in use, if it is alive.
func (h *host) using(t *testing.T) string {
	for _, p := range h.paths(t).Paths {
		if p.InUse && p.Alive && p.Heard > 0 && len(p.Hops) == 5 {
			return p.Hops[2]
		}
	}
	return ""
}
