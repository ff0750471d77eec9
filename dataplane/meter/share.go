package meter

import (
	"time"
	"unsafe"
)

// Share is one worker's part of a meter: its own counter of the reservation, and
// the tokens that it has drawn and not used. Its methods belong to that worker.
type Share struct {
	Counter *Counter
	pool    *Pool
	stock   uint64 // bytes
	held    bool   // whether the worker has it among those to give back from
	_       [64 - 32]byte
}

// One cache line each: no worker's share slows another's.
const _ = -uint(unsafe.Sizeof(Share{}) % 64)

// Fill brings the stock to total bytes, those of an inside packet, or as near as
// the pool can. It reports whether the worker holds tokens for the first time
// since Return.
func (s *Share) Fill(now time.Duration, total int) (first bool) {
	if s.stock >= uint64(total) {
		return false
	}
	s.stock += s.pool.draw(now, max(uint64(total)-s.stock, s.pool.terms.Load().lease))
	first = !s.held && s.stock > 0
	s.held = s.held || first
	return first
}

// Take removes n bytes from the stock and reports true, or nothing and false.
func (s *Share) Take(n int) bool {
	if s.stock < uint64(n) {
		return false
	}
	s.stock -= uint64(n)
	return true
}

// Settle gives back what is more than a lease.
func (s *Share) Settle() {
	if lease := s.pool.terms.Load().lease; s.stock > lease {
		s.pool.giveBack(s.stock - lease)
		s.stock = lease
	}
}

// Return gives back the whole stock: the worker has nothing to do.
func (s *Share) Return() {
	if s.stock > 0 {
		s.pool.giveBack(s.stock)
	}
	s.stock, s.held = 0, false
}
