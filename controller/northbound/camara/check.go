package camara

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

// Checks of requests against the definition's schemas. Fields that the schemas
// do not name are left alone, as OpenAPI says; null is no value of any field.

var (
	profileForm = regexp.MustCompile(`^[a-zA-Z0-9_.-]{3,256}$`)
	phoneForm   = regexp.MustCompile(`^\+[1-9][0-9]{4,14}$`)
	uuidForm    = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)
)

func invalid(format string, args ...any) *ErrorInfo {
	return Fail(CodeInvalidArgument, fmt.Sprintf(format, args...))
}

// decode reads an object into q.
func decode(body []byte, q any) *ErrorInfo {
	d := json.NewDecoder(bytes.NewReader(body))
	var v any
	if err := d.Decode(&v); err != nil {
		return invalid("The request body is not JSON: send one JSON object.")
	}
	if d.More() {
		return invalid("Something stands behind the request's JSON: send one object.")
	}
	if _, ok := v.(map[string]any); !ok {
		return invalid("The request body is not a JSON object: send one.")
	}
	if where := findNull("$", v); where != "" {
		return invalid("%s is null: leave it away, or give it a value.", where)
	}
	if err := json.Unmarshal(body, q); err != nil {
		var t *json.UnmarshalTypeError
		if errors.As(err, &t) {
			return invalid("$.%s cannot be %s: see the API's definition for what it is.", t.Field, t.Value)
		}
		return invalid("The request body does not fit the API's definition: %v.", err)
	}
	return nil
}

// findNull returns the path of a null in v, or "".
func findNull(path string, v any) string {
	switch v := v.(type) {
	case nil:
		return path
	case map[string]any:
		for k, e := range v {
			if p := findNull(path+"."+k, e); p != "" {
				return p
			}
		}
	case []any:
		for i, e := range v {
			if p := findNull(fmt.Sprintf("%s[%d]", path, i), e); p != "" {
				return p
			}
		}
	}
	return ""
}

// createBody is CreateSession with what is required as pointers.
type createBody struct {
	Flow
	ApplicationServer *ApplicationServer `json:"applicationServer"`
	Profile           *string            `json:"qosProfile"`
	Sink              *string            `json:"sink"`
	SinkCredential    *credentialBody    `json:"sinkCredential"`
	Duration          *int32             `json:"duration"`
	DevicePorts       *portsBody         `json:"devicePorts"`
	ServerPorts       *portsBody         `json:"applicationServerPorts"`
	Device            *deviceBody        `json:"device"`
}

type credentialBody struct {
	SinkCredential
	AccessToken *string `json:"accessToken"`
	TokenType   *string `json:"accessTokenType"`
}

type deviceBody struct {
	PhoneNumber             *string     `json:"phoneNumber"`
	NetworkAccessIdentifier *string     `json:"networkAccessIdentifier"`
	IPv4Address             *DeviceIPv4 `json:"ipv4Address"`
	IPv6Address             *string     `json:"ipv6Address"`
}

type portsBody struct {
	Ranges *[]PortRange `json:"ranges"`
	Ports  *[]int       `json:"ports"`
}

// ReadCreateSession reads the body of createSession.
func ReadCreateSession(body []byte) (q CreateSession, e *ErrorInfo) {
	var b createBody
	if e := decode(body, &b); e != nil {
		return q, e
	}
	switch {
	case b.ApplicationServer == nil:
		return q, invalid("applicationServer is missing: name the other end of the flow.")
	case b.Profile == nil:
		return q, invalid("qosProfile is missing: name one of /qos-profiles/v1.")
	case !profileForm.MatchString(*b.Profile):
		return q, invalid("qosProfile %.80q is not a profile's name: use 3 to 256 letters, digits, dots, hyphens and underlines.", *b.Profile)
	case b.Duration == nil:
		return q, invalid("duration is missing: say how many seconds.")
	case *b.Duration < 1:
		return q, invalid("duration is %d seconds: ask for at least 1.", *b.Duration)
	}
	q.ApplicationServer, q.Profile, q.Duration = *b.ApplicationServer, *b.Profile, *b.Duration
	if e := checkServer(&q.ApplicationServer); e != nil {
		return q, e
	}
	if q.Device, e = b.Device.check(); e != nil {
		return q, e
	}
	if q.DevicePorts, e = b.DevicePorts.check("devicePorts"); e != nil {
		return q, e
	}
	if q.ServerPorts, e = b.ServerPorts.check("applicationServerPorts"); e != nil {
		return q, e
	}
	if q.SinkCredential, e = b.SinkCredential.check(); e != nil {
		return q, e
	}
	if b.Sink != nil {
		q.Sink = *b.Sink
		if u, err := url.Parse(q.Sink); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || !strings.HasPrefix(q.Sink, "https://") {
			return q, Fail(CodeInvalidSink, "")
		}
	}
	return q, nil
}

// ReadExtendSession reads the body of extendQosSessionDuration.
func ReadExtendSession(body []byte) (q ExtendSession, e *ErrorInfo) {
	var b struct {
		Additional *int32 `json:"requestedAdditionalDuration"`
	}
	if e := decode(body, &b); e != nil {
		return q, e
	}
	if b.Additional == nil || *b.Additional < 1 {
		return q, invalid("requestedAdditionalDuration is missing or less than 1: say how many seconds longer.")
	}
	return ExtendSession{*b.Additional}, nil
}

// ReadRetrieveSessions reads the body of retrieveSessionsByDevice.
func ReadRetrieveSessions(body []byte) (q RetrieveSessions, e *ErrorInfo) {
	var b struct {
		Device *deviceBody `json:"device"`
	}
	if e := decode(body, &b); e != nil {
		return q, e
	}
	q.Device, e = b.Device.check()
	return q, e
}

// ReadProfileQuery reads the body of retrieveQoSProfiles.
func ReadProfileQuery(body []byte) (q ProfileQuery, e *ErrorInfo) {
	var b struct {
		Device *deviceBody    `json:"device"`
		Name   *string        `json:"name"`
		Status *ProfileStatus `json:"status"`
	}
	if e := decode(body, &b); e != nil {
		return q, e
	}
	if b.Name != nil {
		if q.Name = *b.Name; !profileForm.MatchString(q.Name) {
			return q, invalid("name %.80q is not a profile's name: use 3 to 256 letters, digits, dots, hyphens and underlines.", q.Name)
		}
	}
	if b.Status != nil {
		switch q.Status = *b.Status; q.Status {
		case ProfileActive, ProfileInactive, ProfileDeprecated:
		default:
			return q, invalid("status %.80q is none: use ACTIVE, INACTIVE or DEPRECATED.", string(q.Status))
		}
	}
	q.Device, e = b.Device.check()
	return q, e
}

// check returns the device; nil stays nil.
func (b *deviceBody) check() (*Device, *ErrorInfo) {
	if b == nil {
		return nil, nil
	}
	d := &Device{IPv4Address: b.IPv4Address}
	if b.PhoneNumber == nil && b.NetworkAccessIdentifier == nil && b.IPv4Address == nil && b.IPv6Address == nil {
		return nil, invalid("device has no identifier: give its ipv6Address.")
	}
	if b.PhoneNumber != nil {
		if d.PhoneNumber = *b.PhoneNumber; !phoneForm.MatchString(d.PhoneNumber) {
			return nil, invalid("device.phoneNumber is not one in E.164 form, such as +123456789.")
		}
	}
	if b.NetworkAccessIdentifier != nil {
		d.NetworkAccessIdentifier = *b.NetworkAccessIdentifier
		if local, domain, ok := strings.Cut(d.NetworkAccessIdentifier, "@"); !ok || local == "" || domain == "" {
			return nil, invalid("device.networkAccessIdentifier is not one, such as 123456789@example.com.")
		}
	}
	if v4 := b.IPv4Address; v4 != nil {
		if e := v4.check(); e != nil {
			return nil, e
		}
	}
	if b.IPv6Address != nil {
		d.IPv6Address = *b.IPv6Address
		if a, err := netip.ParseAddr(d.IPv6Address); err != nil || !a.Is6() || a.Zone() != "" {
			return nil, invalid("device.ipv6Address %.80q is not an IPv6 address: give the terminal's identifier.", d.IPv6Address)
		}
	}
	return d, nil
}

func (v *DeviceIPv4) check() *ErrorInfo {
	for name, text := range map[string]string{"publicAddress": v.PublicAddress, "privateAddress": v.PrivateAddress} {
		if a, err := netip.ParseAddr(text); text != "" && (err != nil || !a.Is4()) {
			return invalid("device.ipv4Address.%s %.80q is not an IPv4 address.", name, text)
		}
	}
	if v.PublicAddress == "" || v.PrivateAddress == "" && v.PublicPort == nil {
		return invalid("device.ipv4Address needs a publicAddress and one of privateAddress and publicPort.")
	}
	if v.PublicPort != nil {
		return checkPort("device.ipv4Address.publicPort", *v.PublicPort)
	}
	return nil
}

func checkPort(name string, n int) *ErrorInfo {
	if n < 0 || n > 65535 {
		return Fail(CodeOutOfRange, fmt.Sprintf("%s is %d: a port is from 0 to 65535.", name, n))
	}
	return nil
}

func checkServer(s *ApplicationServer) *ErrorInfo {
	if s.IPv4Address == "" && s.IPv6Address == "" {
		return invalid("applicationServer has no address: give its ipv6Address.")
	}
	for name, text := range map[string]string{"ipv4Address": s.IPv4Address, "ipv6Address": s.IPv6Address} {
		if text == "" {
			continue
		}
		a, err := netip.ParseAddr(text)
		if p, err2 := netip.ParsePrefix(text); err2 == nil {
			a, err = p.Addr(), nil
		}
		if err != nil || a.Zone() != "" || a.Is4() != (name == "ipv4Address") {
			return invalid("applicationServer.%s %.80q is neither an address nor address/mask.", name, text)
		}
	}
	return nil
}

// check returns the ports; nil stays nil.
func (b *portsBody) check(name string) (*Ports, *ErrorInfo) {
	if b == nil {
		return nil, nil
	}
	p := &Ports{}
	switch {
	case b.Ranges == nil && b.Ports == nil:
		return nil, invalid("%s is empty: give ranges or ports, or leave it away.", name)
	case b.Ranges != nil && len(*b.Ranges) == 0, b.Ports != nil && len(*b.Ports) == 0:
		return nil, invalid("%s has an empty list: give at least one port, or leave it away.", name)
	}
	if b.Ranges != nil {
		p.Ranges = *b.Ranges
	}
	if b.Ports != nil {
		p.Ports = *b.Ports
	}
	for _, r := range p.Ranges {
		if r.From == nil || r.To == nil {
			return nil, invalid("%s has a range without both ends: give from and to.", name)
		}
		for _, n := range []int{*r.From, *r.To} {
			if e := checkPort(name+".ranges", n); e != nil {
				return nil, e
			}
		}
		if *r.From > *r.To {
			return nil, Fail(CodeOutOfRange, fmt.Sprintf("%s has a range from %d to %d: give the lower port first.", name, *r.From, *r.To))
		}
	}
	for _, n := range p.Ports {
		if e := checkPort(name+".ports", n); e != nil {
			return nil, e
		}
	}
	return p, nil
}

// check returns the credential; nil stays nil. Its type comes first: other types
// have other fields.
func (b *credentialBody) check() (*SinkCredential, *ErrorInfo) {
	if b == nil {
		return nil, nil
	}
	c := b.SinkCredential
	switch c.CredentialType {
	case "ACCESSTOKEN":
	case "PLAIN", "REFRESHTOKEN":
		return nil, Fail(CodeInvalidCredential, "")
	default:
		return nil, invalid("sinkCredential.credentialType %.80q is none: use ACCESSTOKEN.", c.CredentialType)
	}
	switch {
	case b.TokenType == nil:
		return nil, invalid("sinkCredential.accessTokenType is missing: use bearer.")
	case *b.TokenType != "bearer":
		return nil, Fail(CodeInvalidToken, "")
	case b.AccessToken == nil || *b.AccessToken == "" || strings.ContainsFunc(*b.AccessToken, notPrintable):
		return nil, invalid("sinkCredential.accessToken is missing or has characters that cannot be sent.")
	case c.Expires.IsZero():
		return nil, invalid("sinkCredential.accessTokenExpiresUtc is missing: say until when the token is good.")
	}
	c.AccessToken, c.TokenType = *b.AccessToken, *b.TokenType
	return &c, nil
}

func notPrintable(r rune) bool { return r <= ' ' || r > '~' }
