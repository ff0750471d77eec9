package aead

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// batchOf makes a batch with every kind of neighbour: lengths from lengths,
// several keys of several suites on path p, with and without AAD.
func batchOf(t testing.TB, r *rand.Rand, p path, suites []Suite, lengths []int) (jobs []Job, want [][]byte, plain [][]byte) {
	t.Helper()
	type pair struct {
		k *Key
		s Suite
		b []byte
	}
	var keys []pair
	for _, s := range suites {
		for range 3 {
			b := random(r, s.KeySize())
			keys = append(keys, pair{mustKey(t, p, s, b), s, b})
		}
	}
	for i, n := range lengths {
		k := keys[r.IntN(len(keys))]
		if i > 0 && r.IntN(3) > 0 && jobs[i-1].Key != nil {
			for _, same := range keys {
				if same.k == jobs[i-1].Key {
					k = same
				}
			}
		}
		text := random(r, n)
		j := Job{Key: k.k, Nonce: [12]byte(random(r, 12)), Buf: append(bytes.Clone(text), make([]byte, TagSize)...)}
		if r.IntN(3) == 0 {
			j.AAD = random(r, r.IntN(80))
		}
		jobs = append(jobs, j)
		plain = append(plain, text)
		want = append(want, twin(k.s, k.b).Seal(nil, j.Nonce[:], text, j.AAD))
	}
	return jobs, want, plain
}

// checkBatch seals and opens the batch against its twins, with some tags
// forged in the second half.
func checkBatch(t testing.TB, r *rand.Rand, jobs []Job, want, plain [][]byte) {
	t.Helper()
	Seal(jobs)
	for i := range jobs {
		if !jobs[i].OK || !bytes.Equal(jobs[i].Buf, want[i]) {
			t.Fatalf("job %d of %d, %d bytes of %v: OK %v, differs from the twin at byte %d", i, len(jobs), len(plain[i]), jobs[i].Key.Suite(), jobs[i].OK, differAt(want[i], jobs[i].Buf))
		}
	}
	forged := make([]bool, len(jobs))
	for i := range jobs {
		if r.IntN(4) == 0 {
			forged[i] = true
			jobs[i].Buf[r.IntN(len(jobs[i].Buf))] ^= 1 << r.IntN(8)
		}
	}
	Open(jobs)
	for i := range jobs {
		got, wantText := jobs[i].Buf[:len(plain[i])], plain[i]
		if forged[i] {
			wantText = make([]byte, len(plain[i]))
		}
		if jobs[i].OK == forged[i] || !bytes.Equal(got, wantText) {
			t.Fatalf("job %d of %d, %d bytes of %v, forged %v: OK %v, differs at byte %d", i, len(jobs), len(plain[i]), jobs[i].Key.Suite(), forged[i], jobs[i].OK, differAt(wantText, got))
		}
	}
}

func TestBatchesOfEveryShapeEqualTheTwin(t *testing.T) {
	for p := pathGeneric; p <= available(); p++ {
		t.Run(p.String(), func(t *testing.T) {
			r := rand.New(rand.NewPCG(13, uint64(p)))
			near := []int{0, 1, 16, 63, 64, 65, 128, 191, 192, 193, 256, 447, 448, 449, 511, 512, 513, 570, 703, 704, 960, 1216, 1420, 1472, 1473, 1500, 2048, 8900}
			for size := range 80 {
				for range 4 {
					lengths := make([]int, size)
					style := r.IntN(4)
					for i := range lengths {
						switch style {
						case 0:
							lengths[i] = near[r.IntN(len(near))]
						case 1:
							lengths[i] = r.IntN(200)
						case 2:
							lengths[i] = []int{64, 64, 64, 64, 64, 64, 64, 570, 570, 570, 570, 1420}[r.IntN(12)]
						case 3:
							lengths[i] = 64 * r.IntN(30)
						}
					}
					of := suites
					if r.IntN(2) == 0 {
						of = suites[r.IntN(len(suites)):][:1]
					}
					jobs, want, plain := batchOf(t, r, p, of, lengths)
					checkBatch(t, r, jobs, want, plain)
				}
			}
		})
	}
}

func TestEveryAlignmentEqualsTheTwin(t *testing.T) {
	onEveryPath(t, func(t *testing.T, p path, s Suite) {
		r := rand.New(rand.NewPCG(14, uint64(s)))
		key := random(r, s.KeySize())
		k, ref := mustKey(t, p, s, key), twin(s, key)
		arena, aads := make([]byte, 4096), random(r, 512)
		for align := range 64 {
			for _, n := range []int{0, 1, 17, 64, 100, 256, 300, 512, 570, 777, 1420} {
				start := align + (64-int(addr(arena)%64))%64
				text := random(r, n)
				jobs := []Job{{Key: k, Nonce: [12]byte(random(r, 12)), Buf: arena[start:][:n+TagSize], AAD: aads[align:][:r.IntN(200)]}}
				before, after := arena[start-start%64:start], arena[start+n+TagSize:][:64]
				copy(before, bytes.Repeat([]byte{0x77}, len(before)))
				copy(after, bytes.Repeat([]byte{0x77}, len(after)))
				copy(jobs[0].Buf, text)
				want := ref.Seal(nil, jobs[0].Nonce[:], text, jobs[0].AAD)
				Seal(jobs)
				if !jobs[0].OK || !bytes.Equal(jobs[0].Buf, want) {
					t.Fatalf("seal of %d bytes at %d mod 64: wrong", n, align)
				}
				Open(jobs)
				if !jobs[0].OK || !bytes.Equal(jobs[0].Buf[:n], text) {
					t.Fatalf("open of %d bytes at %d mod 64: wrong", n, align)
				}
				if bytes.Count(before, []byte{0x77}) != len(before) || bytes.Count(after, []byte{0x77}) != len(after) {
					t.Fatalf("%d bytes at %d mod 64: wrote outside its buffer", n, align)
				}
			}
		}
	})
}

// Short packets share passes and registers with their neighbours: every pair of
// lengths, at alignments of their own.
func TestEveryPairOfShortPacketsEqualsTheTwin(t *testing.T) {
	onEveryPath(t, func(t *testing.T, p path, s Suite) {
		r := rand.New(rand.NewPCG(22, uint64(s)))
		key := random(r, s.KeySize())
		k, ref := mustKey(t, p, s, key), twin(s, key)
		arena, text := make([]byte, 2048), random(r, 600)
		step := 1
		if testing.Short() {
			step = 7
		}
		for a := 0; a <= 210; a += step {
			for b := a % 3; b <= 210; b += 3 {
				first := r.IntN(64)
				second := first + a + TagSize + r.IntN(64)
				jobs := []Job{
					{Key: k, Nonce: [12]byte{1, byte(a)}, Buf: arena[first:][:a+TagSize]},
					{Key: k, Nonce: [12]byte{2, byte(b)}, Buf: arena[second:][:b+TagSize]},
				}
				var want, plain [][]byte
				for i, n := range []int{a, b} {
					plain = append(plain, text[i:][:n])
					copy(jobs[i].Buf, plain[i])
					want = append(want, ref.Seal(nil, jobs[i].Nonce[:], plain[i], nil))
				}
				checkBatch(t, r, jobs, want, plain)
			}
		}
	})
}

// A text longer than one call of a kernel may treat is cut into calls.
func TestLongTextsEqualTheTwin(t *testing.T) {
	onEveryPath(t, func(t *testing.T, p path, s Suite) {
		r := rand.New(rand.NewPCG(15, uint64(s)))
		key := random(r, s.KeySize())
		text := random(r, 300_000)
		for _, n := range []int{64<<10 - 1, 64 << 10, 64<<10 + 1, 64<<10 + 513, 128 << 10, 128<<10 + 16, 299_999} {
			aad := text[:n/2+3]
			jobs := []Job{{Key: mustKey(t, p, s, key), Nonce: [12]byte(random(r, 12)), AAD: aad, Buf: append(bytes.Clone(text[:n]), make([]byte, 16)...)}}
			want := twin(s, key).Seal(nil, jobs[0].Nonce[:], text[:n], aad)
			checkBatch(t, r, jobs, [][]byte{want}, [][]byte{text[:n]})
		}
	})
}

func TestRefusedJobsAreUntouchedAndDisturbNobody(t *testing.T) {
	onEveryPath(t, func(t *testing.T, p path, s Suite) {
		key := make([]byte, s.KeySize())
		good, wiped := mustKey(t, p, s, key), mustKey(t, p, s, key)
		wiped.Wipe()
		mark := bytes.Repeat([]byte{9}, 40)
		for _, verb := range []func([]Job){Seal, Open} {
			sealed := twin(s, key).Seal(nil, make([]byte, 12), mark[:24], nil)
			fresh := func() []byte {
				if len(sealed) != 40 {
					t.Fatal(len(sealed))
				}
				return bytes.Clone(sealed)
			}
			jobs := []Job{
				{Key: nil, Buf: bytes.Clone(mark), OK: true},
				{Key: good, Buf: fresh()},
				{Key: wiped, Buf: bytes.Clone(mark), OK: true},
				{Key: good, Buf: bytes.Clone(mark[:15]), OK: true},
				{Key: good, Buf: fresh()},
				{Key: good, Buf: nil, OK: true},
			}
			verb(jobs)
			for i, want := range []bool{false, true, false, false, true, false} {
				if jobs[i].OK != want {
					t.Errorf("job %d: OK %v", i, jobs[i].OK)
				}
				if !want && !bytes.Equal(jobs[i].Buf, mark[:len(jobs[i].Buf)]) {
					t.Errorf("job %d: refused, and changed to %x", i, jobs[i].Buf)
				}
			}
		}
		Seal(nil)
		Open([]Job{})
	})
}

func TestBatchDoesNotAllocate(t *testing.T) {
	onEveryPath(t, func(t *testing.T, p path, s Suite) {
		if p == pathGeneric { // x/crypto's portable code allocates
			return
		}
		k := mustKey(t, p, s, make([]byte, s.KeySize()))
		jobs := make([]Job, 64)
		for i := range jobs {
			jobs[i] = Job{Key: k, Buf: make([]byte, []int{64, 570, 1420}[i%3]+TagSize)}
		}
		if n := testing.AllocsPerRun(20, func() { Seal(jobs); Open(jobs) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

// FuzzBatch lets the fuzzer choose the batch: seed, path, and two bytes of
// length for each job.
func FuzzBatch(f *testing.F) {
	f.Add(uint64(1), uint8(2), []byte{64, 0, 58, 2, 140, 5})
	f.Add(uint64(2), uint8(1), []byte{0, 0, 1, 0, 0, 2, 255, 1})
	f.Add(uint64(3), uint8(2), []byte{0xc0, 5, 0xc1, 5, 0xc4, 34})
	f.Fuzz(func(t *testing.T, seed uint64, p uint8, shape []byte) {
		var lengths []int
		for ; len(shape) >= 2 && len(lengths) < 100; shape = shape[2:] {
			lengths = append(lengths, int(shape[0])+int(shape[1]%36)<<8)
		}
		r := rand.New(rand.NewPCG(seed, 0))
		jobs, want, plain := batchOf(t, r, path(p)%(available()+1), suites, lengths)
		checkBatch(t, r, jobs, want, plain)
	})
}

// FuzzOpen lets the fuzzer write packets: what the twin refuses is refused,
// and what it accepts is opened alike.
func FuzzOpen(f *testing.F) {
	f.Add([]byte("0123456789abcdef0123456789abcdefxyz"), []byte("aad"), uint8(0))
	f.Fuzz(func(t *testing.T, packet, aad []byte, which uint8) {
		s := suites[int(which)%len(suites)]
		p := path(which/8) % (available() + 1)
		key := make([]byte, s.KeySize())
		nonce := [12]byte{1}
		want, err := twin(s, key).Open(nil, nonce[:], packet, aad)
		jobs := []Job{{Key: mustKey(t, p, s, key), Nonce: nonce, Buf: bytes.Clone(packet), AAD: bytes.Clone(aad)}}
		Open(jobs)
		if jobs[0].OK != (err == nil) || err == nil && !bytes.Equal(want, jobs[0].Buf[:len(want)]) {
			t.Fatalf("%v on %v: OK %v, the twin says %v", s, p, jobs[0].OK, err)
		}
	})
}
