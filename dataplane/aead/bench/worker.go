//go:build linux

package main

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"hash/fnv"
	"io"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"dssn/dataplane/aead"

	"golang.org/x/crypto/chacha20poly1305"
)

// work answers lines of the protocol that peers.c describes, with library
// "ours" (the path chosen by DSSN_CPU) or "go" (crypto/aes, x/crypto).
func work(in io.Reader, out io.Writer) error {
	// As the C peers do, keep the buffers of a row; and do not let the garbage
	// collector share the core with what is measured.
	debug.SetGCPercent(-1)
	batches := map[string]*batch{}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var lib, suite, verb, list string
		var micros int
		if _, err := fmt.Sscan(lines.Text(), &lib, &suite, &verb, &micros, &list); err != nil {
			return fmt.Errorf("read %q: %w", lines.Text(), err)
		}
		b := batches[suite+list]
		if b == nil {
			var err error
			if b, err = newBatch(lib, suite, list); err != nil {
				return err
			}
			batches[suite+list] = b
		}
		b.fill()
		spent, bytes, hash, err := b.measure(verb == "open", time.Duration(micros)*time.Microsecond)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(out, "%d %d %016x\n", spent.Nanoseconds(), bytes, hash); err != nil {
			return err
		}
	}
	return lines.Err()
}

// batch is one row's packets, ready for one library.
type batch struct {
	jobs []aead.Job
	std  cipher.AEAD // nil: ours
}

func newBatch(lib, suite, list string) (*batch, error) {
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(i)
	}
	s := aead.AES256GCM
	if suite == "chacha" {
		s = aead.ChaCha20Poly1305
	}
	k, err := aead.New(s, key)
	if err != nil {
		return nil, err
	}
	b := &batch{}
	for i, field := range strings.Split(list, ",") {
		n, err := strconv.Atoi(field)
		if err != nil {
			return nil, fmt.Errorf("read a length: %w", err)
		}
		b.jobs = append(b.jobs, aead.Job{Key: k, Buf: make([]byte, n+aead.TagSize), Nonce: [12]byte{4: byte(i)}})
	}
	b.fill()
	if lib == "go" {
		b.std, err = standard(suite, key)
	}
	return b, err
}

// fill writes the plaintext that every contender begins a round with.
func (b *batch) fill() {
	for i := range b.jobs {
		text := b.jobs[i].Buf[:len(b.jobs[i].Buf)-aead.TagSize]
		for j := range text {
			text[j] = byte(i)
		}
	}
}

// standard is what a Go program has without us.
func standard(suite string, key []byte) (cipher.AEAD, error) {
	if suite == "chacha" {
		return chacha20poly1305.New(key)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// measure runs the verb until it has spent limit in it. What is sealed is
// opened again and the other way round, so that every open succeeds.
func (b *batch) measure(open bool, limit time.Duration) (spent time.Duration, n int, hash uint64, err error) {
	h := fnv.New64a()
	for round := 0; spent < limit; round++ {
		start := time.Now()
		b.seal()
		if !open {
			spent += time.Since(start)
		}
		if round == 0 {
			for i := range b.jobs {
				h.Write(b.jobs[i].Buf)
			}
		}
		if open {
			start = time.Now()
			ok := b.open()
			spent += time.Since(start)
			if !ok {
				return 0, 0, 0, fmt.Errorf("a sealed packet was refused")
			}
		}
		for i := range b.jobs {
			n += len(b.jobs[i].Buf) - aead.TagSize
		}
	}
	return spent, n, h.Sum64(), nil
}

func (b *batch) seal() {
	if b.std == nil {
		aead.Seal(b.jobs)
		return
	}
	for i := range b.jobs {
		j := &b.jobs[i]
		b.std.Seal(j.Buf[:0], j.Nonce[:], j.Buf[:len(j.Buf)-aead.TagSize], nil)
	}
}

func (b *batch) open() bool {
	if b.std == nil {
		aead.Open(b.jobs)
		for i := range b.jobs {
			if !b.jobs[i].OK {
				return false
			}
		}
		return true
	}
	for i := range b.jobs {
		j := &b.jobs[i]
		if _, err := b.std.Open(j.Buf[:0], j.Nonce[:], j.Buf, nil); err != nil {
			return false
		}
	}
	return true
}
