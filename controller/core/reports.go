package core

// Reports are the usage reports of many nodes, gathered by the shell into one
// journal entry: at twenty thousand reports a second an entry for each would
// cost more than all the rest. The shell has checked their signatures.
type Reports struct {
	Reports []Usage `json:"reports"`
}

// reports takes each of the reports as usage would. One that is refused hinders
// no other; the answer has one error a report, nil where it was taken.
func (x *step) reports(in *Reports) []error {
	out := make([]error, len(in.Reports))
	for i := range in.Reports {
		out[i] = x.usage(&in.Reports[i])
	}
	return out
}
