package content

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"dssn"
)

// MaxNameBytes bounds a dataset's name.
const MaxNameBytes = 255

// Record is a dataset's entry in the catalogue, signed by its registrant. Only
// Verify makes it worth anything: it mints the identifier again from the other
// fields and checks the signature.
//
// The signature is Ed25519 over these bytes, integers big-endian:
//
//	 0        13   14                30            38                 70
//	| "dssn-record" | id              | registrant  | registrant key   |
//	|  NUL NUL 1    | 16 bytes        | 8 (upper 64)| 32, Ed25519      |
//	70      71         72                   104      112     120    124
//	| grade | category | content root       | length | files | salt |
//	| 1     | 1        | 32                 | 8      | 8     | 4    |
//	124               132           134
//	| created          | name bytes | name … |
//	| 8, Unix seconds  | 2          | UTF-8  |
//
// The byte 1 is the version of the format. The binary form of a record is these
// bytes followed by the 64 of the signature.
type Record struct {
	ID dssn.DataID `json:"id"`
	// Name is what people call the dataset: global, 1 to 255 bytes of
	// printable UTF-8 without a space at either end.
	Name string `json:"name"`
	// Registrant is the /64 of the institution that publishes.
	Registrant    netip.Prefix      `json:"registrant"`
	RegistrantKey ed25519.PublicKey `json:"registrant_key"` // base64 in JSON
	Grade         dssn.Grade        `json:"grade"`
	Category      dssn.Category     `json:"category"`
	// Root is BLAKE3 over the manifest's bytes.
	Root Digest `json:"root"`
	// Length is the total size of all files, in bytes; Files their number.
	Length dssn.ByteCount `json:"length"`
	Files  uint64         `json:"files"`
	// Salt is raised by one when the registry refuses the identifier because
	// another subject has it.
	Salt uint32 `json:"salt"`
	// Created is in whole seconds.
	Created   time.Time `json:"created"`
	Signature []byte    `json:"signature"` // base64 in JSON
}

const (
	recordMagic     = "dssn-record\x00\x00\x01"
	recordFixedSize = 134
)

// CheckName reports why name cannot name a dataset.
func CheckName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("the dataset has no name: give one with --name")
	case len(name) > MaxNameBytes:
		return fmt.Errorf("the name %.40q… has %d bytes: use at most %d", name, len(name), MaxNameBytes)
	case !utf8.ValidString(name):
		return fmt.Errorf("the name %q is not valid UTF-8: write it again", name)
	case strings.TrimSpace(name) != name:
		return fmt.Errorf("the name %q begins or ends with a space: remove it", name)
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("the name %q holds the unprintable character %U: remove it", name, r)
		}
	}
	return nil
}

// Sign completes r: it sets RegistrantKey, rounds Created down to a second in
// UTC, mints ID and signs. On error r is unchanged.
func (r *Record) Sign(key ed25519.PrivateKey) error {
	if len(key) != ed25519.PrivateKeySize {
		return fmt.Errorf("sign record of %q: the registrant key has %d bytes, not %d", r.Name, len(key), ed25519.PrivateKeySize)
	}
	s := *r
	s.RegistrantKey = bytes.Clone(key.Public().(ed25519.PublicKey))
	s.Created = r.Created.Truncate(time.Second).UTC()
	var err error
	if s.ID, err = MintVersion(s.Registrant, s.Grade, s.Category, s.Root, s.Length, s.Salt); err != nil {
		return fmt.Errorf("sign record of %q: %w", r.Name, err)
	}
	if err := s.checkFields(); err != nil {
		return err
	}
	s.Signature = ed25519.Sign(key, s.AppendSigned(nil))
	*r = s
	return nil
}

// Verify reports why r is not to be believed. A nil result means: the
// identifier follows from registrant, grade, category, root, length and salt,
// and the holder of RegistrantKey signed every field. Whether that key belongs
// to the registrant is for the registry to say.
func (r *Record) Verify() error {
	if err := r.checkFields(); err != nil {
		return err
	}
	id, err := MintVersion(r.Registrant, r.Grade, r.Category, r.Root, r.Length, r.Salt)
	if err != nil {
		return fmt.Errorf("record of %q: %w", r.Name, err)
	}
	if id != r.ID {
		return fmt.Errorf("record of %q: its identifier is %s but its content gives %s: ask the registrant to publish again", r.Name, r.ID, id)
	}
	if len(r.Signature) != ed25519.SignatureSize || !ed25519.Verify(r.RegistrantKey, r.AppendSigned(nil), r.Signature) {
		return fmt.Errorf("record of %q: the signature is not by its registrant key: ask the registrant to publish again", r.Name)
	}
	return nil
}

// checkFields reports what could not be written in the signed form, or read
// back from it unchanged.
func (r *Record) checkFields() error {
	if err := CheckName(r.Name); err != nil {
		return err
	}
	bad := func(what string) error {
		return fmt.Errorf("record of %q: %s: publish the dataset again", r.Name, what)
	}
	switch {
	case r.Registrant.Bits() != 64 || !r.Registrant.Addr().Is6() || r.Registrant != r.Registrant.Masked():
		return bad(fmt.Sprintf("the registrant %s is not an IPv6 /64", r.Registrant))
	case len(r.RegistrantKey) != ed25519.PublicKeySize:
		return bad(fmt.Sprintf("the registrant key has %d bytes, not %d", len(r.RegistrantKey), ed25519.PublicKeySize))
	case r.Grade > 0xf || !r.Grade.Valid():
		return bad(fmt.Sprintf("%s is not a grade", r.Grade))
	case r.Category > 0xf:
		return bad(fmt.Sprintf("%d is not a category", uint8(r.Category)))
	case r.Length > math.MaxInt64:
		return bad(fmt.Sprintf("a length of %d bytes cannot be", uint64(r.Length)))
	case r.Files == 0:
		return bad("it has no files")
	case r.Created.Nanosecond() != 0 || r.Created.Unix() < 0 || r.Created.Year() > 9999:
		return bad("its creation time is not in whole seconds between 1970 and 9999")
	}
	return nil
}

// AppendSigned appends the bytes that the signature covers. The lengths of Name
// and RegistrantKey must be as Verify demands.
func (r *Record) AppendSigned(b []byte) []byte {
	id, up := r.ID.As16(), r.Registrant.Addr().As16()
	be := binary.BigEndian
	b = append(b, recordMagic...)
	b = append(b, id[:]...)
	b = append(b, up[:8]...)
	b = append(b, r.RegistrantKey...)
	b = append(b, byte(r.Grade), byte(r.Category))
	b = append(b, r.Root[:]...)
	b = be.AppendUint64(b, uint64(r.Length))
	b = be.AppendUint64(b, r.Files)
	b = be.AppendUint32(b, r.Salt)
	b = be.AppendUint64(b, uint64(r.Created.Unix()))
	b = be.AppendUint16(b, uint16(len(r.Name)))
	return append(b, r.Name...)
}

// AppendBinary implements encoding.BinaryAppender: the signed bytes, then the
// signature. It fails where Verify would for the form of a field, but checks
// neither identifier nor signature.
func (r *Record) AppendBinary(b []byte) ([]byte, error) {
	if err := r.checkFields(); err != nil {
		return b, err
	}
	if len(r.Signature) != ed25519.SignatureSize {
		return b, fmt.Errorf("record of %q is not signed", r.Name)
	}
	return append(r.AppendSigned(b), r.Signature...), nil
}

// ParseRecord reads the binary form. What it accepts AppendBinary writes back
// byte for byte; call Verify before believing it.
func ParseRecord(b []byte) (*Record, error) {
	bad := func(what string) error { return fmt.Errorf("parse record of %d bytes: %s", len(b), what) }
	if len(b) < recordFixedSize+ed25519.SignatureSize {
		return nil, bad("it is too short")
	}
	if string(b[:len(recordMagic)]) != recordMagic {
		return nil, bad("it does not begin as a record of version 1 does")
	}
	be := binary.BigEndian
	name := int(be.Uint16(b[132:]))
	if len(b) != recordFixedSize+name+ed25519.SignatureSize {
		return nil, bad("its length does not follow from its name's")
	}
	var up [16]byte
	copy(up[:8], b[30:38])
	created := be.Uint64(b[124:])
	if created > math.MaxInt64 {
		return nil, bad("its creation time is out of range")
	}
	r := &Record{
		ID:            dssn.DataIDFrom16([16]byte(b[14:30])),
		Name:          string(b[134 : 134+name]),
		Registrant:    netip.PrefixFrom(netip.AddrFrom16(up), 64),
		RegistrantKey: bytes.Clone(b[38:70]),
		Grade:         dssn.Grade(b[70]),
		Category:      dssn.Category(b[71]),
		Root:          Digest(b[72:104]),
		Length:        dssn.ByteCount(be.Uint64(b[104:])),
		Files:         be.Uint64(b[112:]),
		Salt:          be.Uint32(b[120:]),
		Created:       time.Unix(int64(created), 0).UTC(),
		Signature:     bytes.Clone(b[134+name:]),
	}
	if err := r.checkFields(); err != nil {
		return nil, err
	}
	return r, nil
}
