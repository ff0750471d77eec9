package xdp

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// addSocket puts a socket into a map of sockets by queue.
func addSocket(m *ebpf.Map, queue int, s *Socket) error {
	k, ok := s.backend.(*kernel)
	if !ok {
		return fmt.Errorf("directing queue %d to a socket that the kernel does not serve", queue)
	}
	if err := m.Put(uint32(queue), uint32(k.fd)); err != nil {
		return explain(fmt.Sprintf("directing queue %d to a socket", queue), err)
	}
	return nil
}

func removeSocket(m *ebpf.Map, queue int) error {
	if err := m.Delete(uint32(queue)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("no longer directing queue %d to a socket: %w", queue, err)
	}
	return nil
}

// sumPerCPU adds up one entry of a per-CPU array.
func sumPerCPU(m *ebpf.Map, key uint32) (sum uint64, err error) {
	var each []uint64
	if err := m.Lookup(key, &each); err != nil {
		return 0, err
	}
	for _, v := range each {
		sum += v
	}
	return sum, nil
}

// possibleCPUs is how many values an entry of a per-CPU map has.
func possibleCPUs() int { return ebpf.MustPossibleCPU() }
