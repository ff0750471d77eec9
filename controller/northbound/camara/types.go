package camara

import (
	"net/netip"
	"time"
)

// The types are those of the definition, field by field; a pointer that is nil
// and an empty string mean that a field is absent.

// Device is end-user equipment: here a terminal.
type Device struct {
	PhoneNumber             string      `json:"phoneNumber,omitempty"`
	NetworkAccessIdentifier string      `json:"networkAccessIdentifier,omitempty"`
	IPv4Address             *DeviceIPv4 `json:"ipv4Address,omitempty"`
	IPv6Address             string      `json:"ipv6Address,omitempty"`
}

// Addr returns the device's IPv6 address; it is invalid where there is none.
func (d *Device) Addr() netip.Addr {
	if d == nil {
		return netip.Addr{}
	}
	a, _ := netip.ParseAddr(d.IPv6Address)
	return a
}

// Chosen is the device with the one identifier that is used here.
func (d *Device) Chosen() *Device {
	if d == nil {
		return nil
	}
	return &Device{IPv6Address: d.IPv6Address}
}

// DeviceIPv4 is a device's IPv4 address, as seen from inside or outside.
type DeviceIPv4 struct {
	PublicAddress  string `json:"publicAddress,omitempty"`
	PrivateAddress string `json:"privateAddress,omitempty"`
	PublicPort     *int   `json:"publicPort,omitempty"`
}

// ApplicationServer is the other end of a session's flow: here a dataset.
type ApplicationServer struct {
	IPv4Address string `json:"ipv4Address,omitempty"` // address or address/mask
	IPv6Address string `json:"ipv6Address,omitempty"`
}

// Addr returns the one IPv6 address that a names; ok is false where it names
// none, or a whole subnet.
func (a *ApplicationServer) Addr() (addr netip.Addr, ok bool) {
	if p, err := netip.ParsePrefix(a.IPv6Address); err == nil {
		return p.Addr(), p.IsSingleIP()
	}
	addr, err := netip.ParseAddr(a.IPv6Address)
	return addr, err == nil
}

// PortRange is a range of ports, both ends included.
type PortRange struct {
	From *int `json:"from"`
	To   *int `json:"to"`
}

// Ports are several ports.
type Ports struct {
	Ranges []PortRange `json:"ranges,omitempty"`
	Ports  []int       `json:"ports,omitempty"`
}

// SinkCredential lets the controller in at a sink. It is never shown again.
type SinkCredential struct {
	CredentialType string    `json:"credentialType"` // ACCESSTOKEN, nothing else
	AccessToken    string    `json:"accessToken,omitempty"`
	Expires        time.Time `json:"accessTokenExpiresUtc,omitzero"`
	TokenType      string    `json:"accessTokenType,omitempty"` // bearer
}

// Flow is what creating a session and showing one have in common.
type Flow struct {
	Device            *Device           `json:"device,omitempty"`
	ApplicationServer ApplicationServer `json:"applicationServer"`
	DevicePorts       *Ports            `json:"devicePorts,omitempty"`
	ServerPorts       *Ports            `json:"applicationServerPorts,omitempty"`
	Profile           string            `json:"qosProfile"`
	Sink              string            `json:"sink,omitempty"`
}

// CreateSession asks for a session.
type CreateSession struct {
	Flow
	SinkCredential *SinkCredential `json:"sinkCredential,omitempty"`
	Duration       int32           `json:"duration"` // seconds
}

// Status is where a session stands:
//
//	REQUESTED → AVAILABLE → UNAVAILABLE
//	     └──────────────────────┘
type Status string

// The statuses. A session is available once the edge that lets its traffic in
// has said that it acts on the reservation.
const (
	Requested   Status = "REQUESTED"
	Available   Status = "AVAILABLE"
	Unavailable Status = "UNAVAILABLE"
)

// StatusInfo says why a session is UNAVAILABLE.
type StatusInfo string

// The reasons.
const (
	DurationExpired   StatusInfo = "DURATION_EXPIRED"
	NetworkTerminated StatusInfo = "NETWORK_TERMINATED"
	DeleteRequested   StatusInfo = "DELETE_REQUESTED"
)

// SessionInfo is a session as it is shown.
type SessionInfo struct {
	Flow
	ID       string     `json:"sessionId"`
	Duration int32      `json:"duration"`           // seconds: granted, or effective once it has ended
	Started  time.Time  `json:"startedAt,omitzero"` // only while AVAILABLE
	Expires  time.Time  `json:"expiresAt,omitzero"` // not while REQUESTED
	Status   Status     `json:"qosStatus"`
	Info     StatusInfo `json:"statusInfo,omitempty"` // only while UNAVAILABLE
}

// ExtendSession asks for a longer session.
type ExtendSession struct {
	Additional int32 `json:"requestedAdditionalDuration"` // seconds
}

// RetrieveSessions asks for a device's sessions.
type RetrieveSessions struct {
	Device *Device `json:"device,omitempty"`
}

// EventType is the type of the one event there is. (One of the test definitions
// of r3.2 writes "qod" in it; the schema, which is normative, does not.)
const EventType = "org.camaraproject.quality-on-demand.v1.qos-status-changed"

// EventContentType is how an event is sent.
const EventContentType = "application/cloudevents+json"

// Event is what a sink receives: a CloudEvent, version 1.0.
type Event struct {
	ID              string    `json:"id"`
	Source          string    `json:"source"`
	SpecVersion     string    `json:"specversion"`
	Type            string    `json:"type"`
	Time            time.Time `json:"time"`
	DataContentType string    `json:"datacontenttype"`
	Data            EventData `json:"data"`
}

// EventData says what a session's status has become.
type EventData struct {
	Session string     `json:"sessionId"`
	Status  Status     `json:"qosStatus"`
	Info    StatusInfo `json:"statusInfo,omitempty"`
}

// SessionsPath is where sessions are.
const SessionsPath = "/quality-on-demand/v1/sessions"
