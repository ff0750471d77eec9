package solve

import "fmt"

func solveFair(in *Instance, n *net, o Options) (*Allocation, error) { return nil, fmt.Errorf("soon") }
