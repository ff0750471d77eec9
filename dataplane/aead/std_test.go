package aead

import "testing"

func TestSealThenOpenGivesThePlaintextBack(t *testing.T) {
	for _, s := range []Suite{AES128GCM, AES256GCM, ChaCha20Poly1305} {
		k, err := New(s, make([]byte, s.KeySize()))
		if err != nil {
			t.Fatal(err)
		}
		buf := append([]byte("attack at dawn"), make([]byte, TagSize)...)
		jobs := []Job{{Key: k, Buf: buf}}
		Seal(jobs)
		Open(jobs)
		if got := string(buf[:14]); !jobs[0].OK || got != "attack at dawn" {
			t.Errorf("%v: got %q, OK %v", s, got, jobs[0].OK)
		}
	}
}
