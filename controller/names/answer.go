package names

import (
	"encoding/binary"
	"encoding/hex"
	"slices"

	"github.com/miekg/dns"

	"dssn"
)

// Lifetimes, in seconds: of an answer, and of a denial (RFC 2308, section 5). A
// new version is seen by everybody after the first, a new name after the second.
const (
	lifetime       = 60
	denialLifetime = 15
)

// Sizes in bytes: what a UDP answer may have without EDNS and with it (no
// fragments on any usual link), and the longest query that is read.
const (
	plainSize = 512
	udpSize   = 1232
	maxQuery  = 1232
)

// Transport is what a query came over.
type Transport uint8

// The transports.
const (
	UDP Transport = iota
	TCP
)

// Answer returns the answer to one query, or nil where none is due: to what is no
// query. Its work is bounded by the query's size and three looks into the view.
func (z Zone) Answer(query []byte, over Transport, v View) []byte {
	const header = 12
	if len(query) < header || query[2]&0x80 != 0 { // QR: an answer is never answered
		return nil
	}
	// Only the header is believed before the counts are known to be a query's.
	refuse := &dns.Msg{MsgHdr: dns.MsgHdr{Id: binary.BigEndian.Uint16(query), Response: true, Opcode: int(query[2] >> 3 & 0xf), RecursionDesired: query[2]&1 != 0}}
	if refuse.Opcode != dns.OpcodeQuery {
		refuse.Rcode = dns.RcodeNotImplemented
		return pack(refuse, plainSize)
	}
	refuse.Rcode = dns.RcodeFormatError
	count := func(i int) uint16 { return binary.BigEndian.Uint16(query[4+2*i:]) }
	if len(query) > maxQuery || count(0) != 1 || count(1) != 0 || count(2) != 0 || count(3) > 2 {
		return pack(refuse, plainSize)
	}
	var q dns.Msg
	if q.Unpack(query) != nil || len(q.Question) != 1 {
		return pack(refuse, plainSize)
	}
	m := new(dns.Msg).SetReply(&q)
	m.RecursionDesired, m.CheckingDisabled = q.RecursionDesired, q.CheckingDisabled
	m.Compress = true
	size := plainSize
	if opt := q.IsEdns0(); opt != nil {
		size = min(max(int(opt.UDPSize()), plainSize), udpSize)
		m.SetEdns0(udpSize, false)
		if opt.Version() != 0 {
			m.Rcode = dns.RcodeBadVers
			return pack(m, size)
		}
	}
	if over == TCP {
		size = dns.MaxMsgSize
	}
	z.fill(m, q.Question[0], v)
	return pack(m, size)
}

// pack writes m in at most size bytes; what does not fit is left out, with the
// bit TC that sends the asker to TCP.
func pack(m *dns.Msg, size int) []byte {
	m.Truncate(size)
	b, err := m.Pack()
	if err != nil { // no name that we make is too long; see maxDomainBytes
		m.Answer, m.Ns, m.Rcode = nil, nil, dns.RcodeServerFailure
		b, _ = m.Pack()
	}
	return b
}

// fill answers a question of one of the zones and refuses any other.
func (z Zone) fill(m *dns.Msg, q dns.Question, v View) {
	name := lower(q.Name)
	zone := z.forward
	if dns.IsSubDomain(z.reverse, name) {
		zone = z.reverse
	}
	if q.Qclass != dns.ClassINET || q.Qtype == dns.TypeAXFR || q.Qtype == dns.TypeIXFR || !dns.IsSubDomain(zone, name) {
		m.Rcode = dns.RcodeRefused
		return
	}
	m.Authoritative = true
	labels := dns.SplitDomainName(name)
	labels = labels[:len(labels)-dns.CountLabel(zone)]
	var records []dns.RR
	exists := true
	switch {
	case len(labels) == 0:
		records = []dns.RR{z.soa(zone, lifetime, v), &dns.NS{Hdr: head(q.Name, dns.TypeNS), Ns: z.server}}
	case zone == z.forward:
		records, exists = z.dataset(q.Name, labels, v)
	default:
		records, exists = z.pointer(q.Name, labels, v)
	}
	for _, r := range records {
		if q.Qtype == r.Header().Rrtype || q.Qtype == dns.TypeANY {
			m.Answer = append(m.Answer, r)
		}
	}
	if !exists {
		m.Rcode = dns.RcodeNameError
	}
	if len(m.Answer) == 0 {
		m.Ns = append(m.Ns, z.soa(zone, denialLifetime, v))
	}
}

// dataset looks up NAME.REGISTRANT. A registrant's own name exists without
// records; nothing lies below a dataset's.
func (z Zone) dataset(owner string, labels []string, v View) ([]dns.RR, bool) {
	institution := unescape(labels[len(labels)-1])
	switch len(labels) {
	case 1:
		return nil, v.Institution(institution)
	case 2:
		id, of, ok := v.Newest(unescape(labels[0]))
		if !ok || of != institution {
			return nil, false
		}
		return []dns.RR{&dns.AAAA{Hdr: head(owner, dns.TypeAAAA), AAAA: id.Addr().AsSlice()}}, true
	}
	return nil, false
}

// pointer looks up an address by its nibbles. Names of fewer nibbles than an
// address are said to exist, whether or not an identifier lies below: a denial
// would deny everything below too (RFC 8020), and to know better takes a search.
func (z Zone) pointer(owner string, labels []string, v View) ([]dns.RR, bool) {
	labels = slices.Clone(labels)
	slices.Reverse(labels)
	zone := dns.SplitDomainName(z.reverse)[:z.nibbles]
	slices.Reverse(zone)
	text := make([]byte, 0, 32)
	for _, l := range append(zone, labels...) {
		if len(l) != 1 || len(text) == 32 {
			return nil, false
		}
		text = append(text, l[0])
	}
	full := len(text) == 32
	for len(text) < 32 {
		text = append(text, '0')
	}
	var a [16]byte
	if _, err := hex.Decode(a[:], text); err != nil {
		return nil, false
	}
	if !full {
		return nil, true
	}
	name, institution, ok := v.Dataset(dssn.DataIDFrom16(a))
	if !ok {
		return nil, false
	}
	target, ok := z.name(name, institution)
	if !ok {
		return nil, true
	}
	return []dns.RR{&dns.PTR{Hdr: head(owner, dns.TypePTR), Ptr: target}}, true
}

func head(name string, kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: lifetime}
}

// soa is a zone's start of authority. Nobody transfers the zone, so the times of
// refresh, retry and expiry are only what is usual.
func (z Zone) soa(zone string, ttl uint32, v View) *dns.SOA {
	h := head(zone, dns.TypeSOA)
	h.Ttl = ttl
	return &dns.SOA{Hdr: h, Ns: z.server, Mbox: z.mailbox, Serial: v.Serial(), Refresh: 3600, Retry: 600, Expire: 86400, Minttl: denialLifetime}
}
