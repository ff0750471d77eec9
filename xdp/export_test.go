package xdp

import (
	"dssn/xdp/bpf"

	"github.com/cilium/ebpf"
)

// What only tests see.

// RunContext is struct xdp_md for a test run.
type RunContext struct{ Data, DataEnd, DataMeta, Ingress, Queue, Egress uint32 }

// Run puts a frame through the program, as arrived on interface 1, and returns the
// XDP action and the frame as it left. metadata bytes before the frame take away
// its headroom.
func (t *Transit) Run(frame []byte, metadata int, out []byte) (action uint32, left []byte, err error) {
	o := ebpf.RunOptions{Data: frame, DataOut: out}
	if metadata > 0 {
		o.Data = append(make([]byte, metadata), frame...)
		o.Context = RunContext{Data: uint32(metadata), DataEnd: uint32(metadata + len(frame))}
	}
	action, err = t.objects.Transit.Run(&o)
	return action, o.DataOut, err
}

// LetIn is Attach without attaching.
func (t *Transit) LetIn(o IngressOptions) error {
	return t.letIn(o)
}

// TransitSpec is the program as generated.
func TransitSpec() (*ebpf.CollectionSpec, error) { return bpf.LoadTransit() }

// What policers lend ahead, and to how many.
const LeaseBytes = leaseBytes

func PossibleCPUs() int { return possibleCPUs() }
