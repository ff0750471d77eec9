package names

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"dssn"
)

// catalogue is a view of a few datasets.
type catalogue struct {
	newest       map[string]dssn.DataID
	datasets     map[dssn.DataID][2]string
	institutions map[string]bool
}

func (c catalogue) Institution(name string) bool { return c.institutions[name] }
func (c catalogue) Newest(name string) (dssn.DataID, string, bool) {
	id, ok := c.newest[name]
	return id, c.datasets[id][1], ok
}
func (c catalogue) Dataset(id dssn.DataID) (string, string, bool) {
	d, ok := c.datasets[id]
	return d[0], d[1], ok
}
func (c catalogue) Serial() uint32 { return uint32(len(c.datasets)) }

const (
	rain1  = "3fff:d55:12:7:2911:9a3e:41c7:8d1"
	rain2  = "3fff:d55:12:7:2911:9a3e:41c7:8d2"
	dotted = "3fff:d55:12:7:2911:9a3e:41c7:8d3"
	loud   = "3fff:d55:12:7:2911:9a3e:41c7:8d4"
)

func world(t testing.TB) (Zone, catalogue) {
	t.Helper()
	z, err := NewZone("Example.net", netip.MustParsePrefix("3fff:d55::/32"))
	if err != nil {
		t.Fatal(err)
	}
	c := catalogue{newest: map[string]dssn.DataID{}, datasets: map[dssn.DataID][2]string{}, institutions: map[string]bool{"north": true, "met.office": true}}
	for _, d := range [][3]string{{rain1, "rain", "north"}, {rain2, "rain", "north"}, {dotted, "era5 2024.b", "met.office"}, {loud, "Rain", "north"}} {
		id, err := dssn.ParseDataID(d[0])
		if err != nil {
			t.Fatal(err)
		}
		c.newest[d[1]], c.datasets[id] = id, [2]string{d[1], d[2]}
	}
	return z, c
}

func ask(t *testing.T, z Zone, v View, q *dns.Msg, over Transport) *dns.Msg {
	t.Helper()
	b, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	var m dns.Msg
	if err := m.Unpack(z.Answer(b, over, v)); err != nil {
		t.Fatal(err)
	}
	if m.Id != q.Id || !m.Response {
		t.Errorf("the answer is not to the query: %v", m.MsgHdr)
	}
	return &m
}

func TestWhatIsAnswered(t *testing.T) {
	z, c := world(t)
	const reverse = "2.d.8.0.7.c.1.4.e.3.a.9.1.1.9.2.7.0.0.0.2.1.0.0.5.5.d.0.f.f.f.3.ip6.arpa."
	for _, k := range []struct {
		name  string
		kind  uint16
		rcode int
		want  string // the answer's data; "" for none
	}{
		{"rain.north.data.example.net.", dns.TypeAAAA, dns.RcodeSuccess, rain2},
		{"RAIN.North.dATA.eXample.net.", dns.TypeAAAA, dns.RcodeSuccess, rain2},
		{"rain.north.data.example.net.", dns.TypeANY, dns.RcodeSuccess, rain2},
		{"rain.north.data.example.net.", dns.TypeA, dns.RcodeSuccess, ""},
		{`era5\0322024\.b.met\.office.data.example.net.`, dns.TypeAAAA, dns.RcodeSuccess, dotted},
		{"north.data.example.net.", dns.TypeAAAA, dns.RcodeSuccess, ""},
		{"east.data.example.net.", dns.TypeAAAA, dns.RcodeNameError, ""},
		{"snow.north.data.example.net.", dns.TypeAAAA, dns.RcodeNameError, ""},
		{`rain.met\.office.data.example.net.`, dns.TypeAAAA, dns.RcodeNameError, ""},
		{"x.rain.north.data.example.net.", dns.TypeAAAA, dns.RcodeNameError, ""},
		{"data.example.net.", dns.TypeNS, dns.RcodeSuccess, "ns.example.net."},
		{"data.example.net.", dns.TypeSOA, dns.RcodeSuccess, "ns.example.net. hostmaster.example.net. 4 3600 600 86400 15"},
		{"data.example.net.", dns.TypeAAAA, dns.RcodeSuccess, ""},
		{"data.example.net.", dns.TypeAXFR, dns.RcodeRefused, ""},
		{"example.net.", dns.TypeSOA, dns.RcodeRefused, ""},
		{"notdata.example.net.", dns.TypeAAAA, dns.RcodeRefused, ""},
		{".", dns.TypeNS, dns.RcodeRefused, ""},
		{reverse, dns.TypePTR, dns.RcodeSuccess, "rain.north.data.example.net."},
		{strings.ToUpper(reverse), dns.TypePTR, dns.RcodeSuccess, "rain.north.data.example.net."},
		{"1" + reverse[1:], dns.TypePTR, dns.RcodeSuccess, "rain.north.data.example.net."},
		{"3" + reverse[1:], dns.TypePTR, dns.RcodeSuccess, `era5\0322024\.b.met\.office.data.example.net.`},
		{"4" + reverse[1:], dns.TypePTR, dns.RcodeSuccess, ""}, // has capitals, so no name
		{"5" + reverse[1:], dns.TypePTR, dns.RcodeNameError, ""},
		{"g" + reverse[1:], dns.TypePTR, dns.RcodeNameError, ""},
		{"22" + reverse[1:], dns.TypePTR, dns.RcodeNameError, ""},
		{"0." + reverse, dns.TypePTR, dns.RcodeNameError, ""},
		{reverse, dns.TypeAAAA, dns.RcodeSuccess, ""},
		{reverse[2:], dns.TypePTR, dns.RcodeSuccess, ""}, // 31 nibbles: something may lie below
		{"5.5.d.0.f.f.f.3.ip6.arpa.", dns.TypeNS, dns.RcodeSuccess, "ns.example.net."},
		{"5.d.0.f.f.f.3.ip6.arpa.", dns.TypeNS, dns.RcodeRefused, ""},
	} {
		m := ask(t, z, c, new(dns.Msg).SetQuestion(k.name, k.kind), UDP)
		got := ""
		if len(m.Answer) > 0 {
			got = strings.TrimPrefix(m.Answer[0].String(), m.Answer[0].Header().String())
			if m.Answer[0].Header().Name != unspaced(k.name) {
				t.Errorf("%s: the answer is about %s", k.name, m.Answer[0].Header().Name)
			}
		}
		if got != unspaced(k.want) && got != k.want || m.Rcode != k.rcode {
			t.Errorf("%s %s: %s %q, want %s %q", k.name, dns.TypeToString[k.kind], dns.RcodeToString[m.Rcode], got, dns.RcodeToString[k.rcode], k.want)
		}
		denial := k.want == "" && k.rcode != dns.RcodeRefused
		if soa := len(m.Ns) == 1 && m.Ns[0].Header().Rrtype == dns.TypeSOA && m.Ns[0].Header().Ttl == denialLifetime; soa != denial {
			t.Errorf("%s %s: authority is %v; a denial, and nothing else, has the SOA", k.name, dns.TypeToString[k.kind], m.Ns)
		}
		if m.Authoritative != (k.rcode != dns.RcodeRefused) || m.RecursionAvailable {
			t.Errorf("%s: flags are %v", k.name, m.MsgHdr)
		}
	}
}

// unspaced writes a space in a label as the library does.
func unspaced(s string) string { return strings.ReplaceAll(s, `\032`, `\ `) }

func TestQueriesThatAreNone(t *testing.T) {
	z, c := world(t)
	good := new(dns.Msg).SetQuestion("rain.north.data.example.net.", dns.TypeAAAA)
	change := func(f func(*dns.Msg)) *dns.Msg { m := good.Copy(); f(m); return m }
	for what, k := range map[string]struct {
		q     *dns.Msg
		rcode int
	}{
		"an update":      {change(func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }), dns.RcodeNotImplemented},
		"two questions":  {change(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), dns.RcodeFormatError},
		"no question":    {change(func(m *dns.Msg) { m.Question = nil }), dns.RcodeFormatError},
		"with an answer": {change(func(m *dns.Msg) { m.Answer = []dns.RR{&dns.NS{Hdr: head(".", dns.TypeNS), Ns: "a."}} }), dns.RcodeFormatError},
		"class chaos":    {change(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), dns.RcodeRefused},
		"EDNS 1":         {change(func(m *dns.Msg) { m.SetEdns0(4096, false); m.IsEdns0().SetVersion(1) }), dns.RcodeBadVers},
	} {
		if m := ask(t, z, c, k.q, UDP); m.Rcode != k.rcode || len(m.Answer) > 0 {
			t.Errorf("%s: %v", what, m)
		}
	}
	b, _ := good.Pack()
	if a := z.Answer(b[:11], UDP, c); a != nil {
		t.Error("half a header is answered")
	}
	b[2] |= 0x80
	if a := z.Answer(b, UDP, c); a != nil {
		t.Error("an answer is answered")
	}
}

func TestSizesAndTruncation(t *testing.T) {
	z, c := world(t)
	q := new(dns.Msg).SetQuestion("rain.north.data.example.net.", dns.TypeAAAA)
	if ask(t, z, c, q, UDP).IsEdns0() != nil {
		t.Error("EDNS is spoken to who does not")
	}
	q.SetEdns0(4096, false)
	if opt := ask(t, z, c, q, UDP).IsEdns0(); opt == nil || opt.UDPSize() != udpSize {
		t.Errorf("EDNS is answered by %v", opt)
	}
	big := new(dns.Msg).SetReply(q)
	for range 200 {
		big.Answer = append(big.Answer, &dns.PTR{Hdr: head("a.", dns.TypePTR), Ptr: strings.Repeat("long.", 10)})
	}
	for _, size := range []int{plainSize, udpSize} {
		b := pack(big.Copy(), size)
		var m dns.Msg
		if err := m.Unpack(b); err != nil || len(b) > size || !m.Truncated || len(m.Answer) == 200 {
			t.Errorf("in %d bytes: %d, truncated %v, %v", size, len(b), m.Truncated, err)
		}
	}
}

func TestDomainsThatAreNone(t *testing.T) {
	for _, d := range []string{"", ".", "a..b", strings.Repeat("a.", 80), "exa mple", strings.Repeat("a", 64) + ".net"} {
		if _, err := NewZone(d, netip.MustParsePrefix("3fff:d55::/32")); err == nil {
			t.Errorf("%q is taken as a domain", d)
		}
	}
	if _, err := NewZone("example.net", netip.MustParsePrefix("3fff:d55::/48")); err == nil {
		t.Error("a /48 is taken as the operator's prefix")
	}
}

func TestEachNetworkHasItsOwnLimit(t *testing.T) {
	var l limiter
	now := time.Unix(1e9, 0)
	a, beside, other := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("192.0.2.1")
	n := 0
	for range 2 * burst {
		if l.allow(now, a) {
			n++
		}
	}
	if n != burst || l.allow(now, beside) || !l.allow(now, other) {
		t.Errorf("%d answers at once, want %d for a /64", n, burst)
	}
	n = 0
	for range burst {
		if l.allow(now.Add(time.Second), a) {
			n++
		}
	}
	if n != rate {
		t.Errorf("%d answers after a second, want %d", n, rate)
	}
	for i := range 3 * maxSources {
		l.allow(now, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
	}
	if len(l.paid) > maxSources+1 {
		t.Errorf("%d networks are remembered", len(l.paid))
	}
}

func FuzzAnswer(f *testing.F) {
	z, c := world(f)
	for _, name := range []string{"rain.north.data.example.net.", "data.example.net.", "5.5.d.0.f.f.f.3.ip6.arpa.", `\001.north.data.example.net.`} {
		q := new(dns.Msg).SetQuestion(name, dns.TypeANY)
		b, _ := q.Pack()
		f.Add(b)
		q.SetEdns0(700, true)
		b, _ = q.Pack()
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, query []byte) {
		a := z.Answer(query, UDP, c)
		if a == nil {
			if len(query) >= 12 && query[2]&0x80 == 0 {
				t.Error("a query is not answered")
			}
			return
		}
		var m dns.Msg
		if err := m.Unpack(a); err != nil {
			t.Fatalf("the answer cannot be read: %v", err)
		}
		if len(a) > udpSize || !m.Response || a[0] != query[0] || a[1] != query[1] {
			t.Errorf("%d bytes, %v", len(a), m.MsgHdr)
		}
		if again := z.Answer(a, UDP, c); again != nil {
			t.Error("an answer is answered")
		}
	})
}

func FuzzLabelsKeepTheirBytes(f *testing.F) {
	f.Add(`a\.b`)
	f.Add("era5 2024.b")
	f.Fuzz(func(t *testing.T, s string) {
		if got := unescape(escape(s)); got != s {
			t.Errorf("%q became %q", s, got)
		}
	})
}
