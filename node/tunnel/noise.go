package tunnel

import (
	"crypto/ecdh"
	"encoding/binary"
	"io"

	"golang.org/x/crypto/blake2s"
	"golang.org/x/crypto/chacha20poly1305"
	"golang.zx2c4.com/wireguard/device"
)

// Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s as WireGuard uses it (paper, section
// 5.4; names follow it: chain is C, hash is H).

var (
	chainStart = blake2s.Sum256([]byte("Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"))
	hashStart  = blake2s.Sum256(append(chainStart[:], "WireGuard v1 zx2c4 Jason@zx2c4.com"...))
)

// noise is the state of one handshake.
type noise struct{ chain, hash [32]byte }

func begin(responder Key) noise {
	n := noise{chain: chainStart, hash: hashStart}
	n.mixHash(responder[:])
	return n
}

func (n *noise) mixHash(b []byte) {
	h, _ := blake2s.New256(nil) // no key: no error
	h.Write(n.hash[:])
	h.Write(b)
	h.Sum(n.hash[:0])
}

func (n *noise) mixChain(b []byte) { device.KDF1(&n.chain, n.chain[:], b) }

func (n *noise) mixKey(secret []byte) (key [32]byte) {
	device.KDF2(&n.chain, &key, n.chain[:], secret)
	return key
}

func (n *noise) mixPSK(psk *Key) (key [32]byte) {
	var t [32]byte
	device.KDF3(&n.chain, &t, &key, n.chain[:], psk[:])
	n.mixHash(t[:])
	return key
}

// seal appends the sealed text to dst and mixes it in. Each key seals once.
func (n *noise) seal(dst []byte, key [32]byte, text []byte) []byte {
	a, _ := chacha20poly1305.New(key[:]) // the key's length is right
	var nonce [chacha20poly1305.NonceSize]byte
	at := len(dst)
	dst = a.Seal(dst, nonce[:], text, n.hash[:])
	n.mixHash(dst[at:])
	return dst
}

// open appends the opened text to dst and mixes the sealed one in.
func (n *noise) open(dst []byte, key [32]byte, sealed []byte) ([]byte, bool) {
	a, _ := chacha20poly1305.New(key[:])
	var nonce [chacha20poly1305.NonceSize]byte
	dst, err := a.Open(dst, nonce[:], sealed, n.hash[:])
	n.mixHash(sealed)
	return dst, err == nil
}

// split ends the handshake: the initiator's sending key, then the responder's.
func (n *noise) split() (initiator, responder [32]byte) {
	device.KDF2(&initiator, &responder, n.chain[:], nil)
	*n = noise{}
	return
}

// generate draws a key pair from random.
func generate(random io.Reader) (*ecdh.PrivateKey, error) {
	var b [32]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return nil, err
	}
	return ecdh.X25519().NewPrivateKey(b[:])
}

// initiate writes all of an initiation but its MACs.
func (n *noise) initiate(dst []byte, m *Machine, p *peer, local uint32, ephemeral *ecdh.PrivateKey, stamp [12]byte) ([]byte, error) {
	*n = begin(p.Key)
	dst = binary.LittleEndian.AppendUint32(dst, typeInitiation)
	dst = binary.LittleEndian.AppendUint32(dst, local)
	e := ephemeral.PublicKey().Bytes()
	dst = append(dst, e...)
	n.mixChain(e)
	n.mixHash(e)
	es, err := ephemeral.ECDH(p.public)
	if err != nil {
		return nil, err
	}
	dst = n.seal(dst, n.mixKey(es), m.public[:])
	return n.seal(dst, n.mixKey(p.static), stamp[:]), nil
}

// consumeInitiation reads an initiation whose first MAC was right and returns
// who sent it and when; nil if it is not genuine or from nobody known.
func (n *noise) consumeInitiation(m *Machine, b []byte) (p *peer, stamp [12]byte) {
	*n = begin(m.public)
	e := b[8:40]
	n.mixChain(e)
	n.mixHash(e)
	remote, err := ecdh.X25519().NewPublicKey(e)
	if err != nil {
		return nil, stamp
	}
	es, err := m.private.ECDH(remote)
	if err != nil {
		return nil, stamp
	}
	var key Key
	if _, ok := n.open(key[:0], n.mixKey(es), b[40:88]); !ok {
		return nil, stamp
	}
	if p = m.peers[key]; p == nil {
		return nil, stamp
	}
	if _, ok := n.open(stamp[:0], n.mixKey(p.static), b[88:116]); !ok {
		return nil, stamp
	}
	return p, stamp
}

// respond writes all of a response but its MACs.
func (n *noise) respond(dst []byte, p *peer, psk *Key, local, remote uint32, initiator []byte, ephemeral *ecdh.PrivateKey) ([]byte, error) {
	dst = binary.LittleEndian.AppendUint32(dst, typeResponse)
	dst = binary.LittleEndian.AppendUint32(dst, local)
	dst = binary.LittleEndian.AppendUint32(dst, remote)
	e := ephemeral.PublicKey().Bytes()
	dst = append(dst, e...)
	n.mixHash(e)
	n.mixChain(e)
	their, err := ecdh.X25519().NewPublicKey(initiator)
	if err != nil {
		return nil, err
	}
	ee, err := ephemeral.ECDH(their)
	if err != nil {
		return nil, err
	}
	n.mixChain(ee)
	se, err := ephemeral.ECDH(p.public)
	if err != nil {
		return nil, err
	}
	n.mixChain(se)
	return n.seal(dst, n.mixPSK(psk), nil), nil
}

// consumeResponse reads the response to the initiation whose state n is. When
// it returns false, n is as it was.
func (n *noise) consumeResponse(m *Machine, ephemeral *ecdh.PrivateKey, psk *Key, b []byte) bool {
	after := *n
	e := b[12:44]
	after.mixHash(e)
	after.mixChain(e)
	their, err := ecdh.X25519().NewPublicKey(e)
	if err != nil {
		return false
	}
	ee, err := ephemeral.ECDH(their)
	if err != nil {
		return false
	}
	after.mixChain(ee)
	se, err := m.private.ECDH(their)
	if err != nil {
		return false
	}
	after.mixChain(se)
	if _, ok := after.open(nil, after.mixPSK(psk), b[44:60]); !ok {
		return false
	}
	*n = after
	return true
}
