package names

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"

	"dssn"
)

// View is the catalogue as names need it. Each method is one look into an index.
type View interface {
	// Institution reports whether an institution of this name is registered.
	Institution(name string) bool
	// Newest returns the newest version of the dataset called name and the
	// institution that it belongs to.
	Newest(name string) (id dssn.DataID, institution string, ok bool)
	// Dataset returns the name and the institution of one version, newest or not.
	Dataset(id dssn.DataID) (name, institution string, ok bool)
	// Serial grows with the catalogue; it is the zones' serial (RFC 1035, section 3.3.13).
	Serial() uint32
}

// Zone says what a name server answers for. Make one with NewZone.
type Zone struct {
	forward, reverse string // the two zones; lower case, with the dot at the end
	server, mailbox  string // of the SOA
	nibbles          int    // of the reverse zone
}

// maxDomainBytes leaves room for a name and a registrant of 63 bytes each within
// the 255 of a domain name.
const maxDomainBytes = 120

// NewZone returns the zones data.DOMAIN and the reverse one of operator, a /32.
func NewZone(domain string, operator netip.Prefix) (Zone, error) {
	domain = strings.ToLower(dns.Fqdn(domain))
	if _, ok := dns.IsDomainName(domain); !ok || domain == "." || len(domain) > maxDomainBytes || strings.ContainsAny(domain, "\\ /:@_") {
		return Zone{}, fmt.Errorf("%q is not a domain to put names under: write one of yours such as example.net, of at most %d bytes", strings.TrimSuffix(domain, "."), maxDomainBytes)
	}
	if !operator.Addr().Is6() || operator.Bits() != 32 {
		return Zone{}, fmt.Errorf("names need the operator's IPv6 /32, not %s", operator)
	}
	z := Zone{forward: "data." + domain, server: "ns." + domain, mailbox: "hostmaster." + domain, nibbles: operator.Bits() / 4}
	whole := reverseName(operator.Masked().Addr())
	z.reverse = whole[2*(32-z.nibbles):]
	return z, nil
}

// Forward returns the name of the zone of datasets, with the dot at the end.
func (z Zone) Forward() string { return z.forward }

// Reverse returns the name of the reverse zone.
func (z Zone) Reverse() string { return z.reverse }

// reverseName is the name under ip6.arpa that addr has (RFC 3596, section 2.5).
func reverseName(addr netip.Addr) string {
	const digits = "0123456789abcdef"
	b := make([]byte, 0, 73)
	a := addr.As16()
	for i := len(a) - 1; i >= 0; i-- {
		b = append(b, digits[a[i]&0xf], '.', digits[a[i]>>4], '.')
	}
	return string(append(b, "ip6.arpa."...))
}

// name is the domain name of a dataset; false where it has none: a name with
// capital letters, which DNS cannot tell from small ones, or of over 63 bytes.
func (z Zone) name(dataset, institution string) (string, bool) {
	for _, s := range []string{dataset, institution} {
		if s == "" || len(s) > 63 || s != lower(s) {
			return "", false
		}
	}
	return escape(dataset) + "." + escape(institution) + "." + z.forward, true
}

// lower makes ASCII letters small, and no others (RFC 4343, section 3).
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// escape writes a label in the text form of RFC 1035, section 5.1.
func escape(label string) string {
	var b strings.Builder
	for _, c := range []byte(label) {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "\\%03d", c)
		}
	}
	return b.String()
}

// unescape is the inverse of escape, for labels as the DNS library writes them:
// a backslash is followed by three digits or by the character itself.
func unescape(label string) string {
	b := make([]byte, 0, len(label))
	for i := 0; i < len(label); i++ {
		if label[i] != '\\' || i+1 == len(label) {
			b = append(b, label[i])
			continue
		}
		i++
		if i+2 < len(label) && digit(label[i]) && digit(label[i+1]) && digit(label[i+2]) {
			b = append(b, (label[i]-'0')*100+(label[i+1]-'0')*10+label[i+2]-'0')
			i += 2
			continue
		}
		b = append(b, label[i])
	}
	return string(b)
}

func digit(c byte) bool { return '0' <= c && c <= '9' }
