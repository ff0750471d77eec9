package southbound_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"testing"
	"time"

	"dssn"
	"dssn/controller/southbound"
)

func TestASignatureCoversEveryFieldOfAReport(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	pub := key.Public().(ed25519.PublicKey)
	node, err := dssn.ParseNodeID("3fff:d55:1:1:1:f2bb:a606:dab8")
	if err != nil {
		t.Fatal(err)
	}
	data, err := dssn.ParseDataID("3fff:d55:1:1:2c21:7047:e66c:e21a")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 24, 4, 0, 0, 123456789, time.FixedZone("CST", 8*3600))
	u := southbound.Usage{Epoch: "0123456789abcdef", Sequence: 3, At: now,
		Counts:     []southbound.Count{{Reservation: 9, SentPackets: 1, SentBytes: 2, PolicedPackets: 3, PolicedBytes: 4, ReceivedPackets: 5, ReceivedBytes: 6}},
		Deliveries: []southbound.Delivery{{Transfer: "t", End: southbound.EndHolder, Data: data, Peer: node, Reservation: 9, ContentBytes: 7, Started: now}}}
	u.Deliveries[0].Sign(node, key)
	u.Sign(node, key)
	text, err := json.Marshal(u)
	if err != nil {
		t.Fatal(err)
	}
	var back southbound.Usage
	if err := json.Unmarshal(text, &back); err != nil || !back.SignedBy(node, pub) {
		t.Fatalf("the report does not survive its own JSON (%v)", err)
	}
	if back.SignedBy(node, ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)) || back.SignedBy(dssn.NodeID{}, pub) || back.SignedBy(node, nil) {
		t.Error("another key or node is believed")
	}
	for what, change := range map[string]func(*southbound.Usage){
		"epoch":     func(u *southbound.Usage) { u.Epoch = "1123456789abcdef" },
		"sequence":  func(u *southbound.Usage) { u.Sequence++ },
		"time":      func(u *southbound.Usage) { u.At = u.At.Add(1) },
		"bytes":     func(u *southbound.Usage) { u.Counts[0].ReceivedBytes++ },
		"counts":    func(u *southbound.Usage) { u.Counts = nil },
		"end":       func(u *southbound.Usage) { u.Deliveries[0].End = southbound.EndReceiver },
		"content":   func(u *southbound.Usage) { u.Deliveries[0].ContentBytes++ },
		"done":      func(u *southbound.Usage) { u.Deliveries[0].Done = true },
		"signature": func(u *southbound.Usage) { u.Deliveries[0].Signature = nil },
		"transfer":  func(u *southbound.Usage) { u.Deliveries[0].Transfer = "u" },
	} {
		var c southbound.Usage
		if err := json.Unmarshal(text, &c); err != nil {
			t.Fatal(err)
		}
		change(&c)
		if c.SignedBy(node, pub) {
			t.Errorf("another %s is believed", what)
		}
	}
}

func TestADeliveryIsSignedByItself(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	pub := key.Public().(ed25519.PublicKey)
	node, err := dssn.ParseNodeID("3fff:d55:1:1:1:f2bb:a606:dab8")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 24, 4, 0, 0, 5, time.UTC)
	d := southbound.Delivery{Transfer: "t", End: southbound.EndHolder, Data: node.DataID(), Peer: node, Reservation: 9, ContentBytes: 7, Started: now, Updated: now}
	d.Sign(node, key)
	if !d.SignedBy(node, pub) || d.SignedBy(dssn.NodeID{}, pub) || d.SignedBy(node, nil) {
		t.Error("a delivery is not its signer's, or another's")
	}
	for what, change := range map[string]func(*southbound.Delivery){
		"transfer":    func(d *southbound.Delivery) { d.Transfer = "u" },
		"end":         func(d *southbound.Delivery) { d.End = southbound.EndReceiver },
		"data":        func(d *southbound.Delivery) { d.Data = dssn.DataID{} },
		"peer":        func(d *southbound.Delivery) { d.Peer = dssn.NodeID{} },
		"reservation": func(d *southbound.Delivery) { d.Reservation++ },
		"bytes":       func(d *southbound.Delivery) { d.ContentBytes++ },
		"start":       func(d *southbound.Delivery) { d.Started = now.Add(1) },
		"time":        func(d *southbound.Delivery) { d.Updated = now.Add(1) },
		"end of it":   func(d *southbound.Delivery) { d.Done = true },
	} {
		c := d
		change(&c)
		if c.SignedBy(node, pub) {
			t.Errorf("another %s is believed", what)
		}
	}
}

func FuzzCodec(f *testing.F) {
	f.Add([]byte(`{"usage":{"epoch":"0123456789abcdef","sequence":1,"at":"2026-11-24T00:00:00Z","counts":[],"deliveries":[]}}`))
	f.Add([]byte(`{"assignment":{"generation":1}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c southbound.Codec
		var up southbound.Up
		if c.Unmarshal(b, &up) == nil {
			if _, err := c.Marshal(&up); err != nil {
				t.Errorf("what was read cannot be written: %v", err)
			}
		}
		var down southbound.Down
		if c.Unmarshal(b, &down) == nil {
			if _, err := c.Marshal(&down); err != nil {
				t.Errorf("what was read cannot be written: %v", err)
			}
		}
	})
}
