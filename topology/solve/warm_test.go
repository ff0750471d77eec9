package solve

import "testing"

// BenchmarkAfterAFailure measures the way back to a proven 0.2 % after one link of
// a real network has failed, from the answer before.
func BenchmarkAfterAFailure(b *testing.B) {
	for _, in := range developmentInstances(b, 200) {
		if in.Graph.NumNodes() < 140 {
			continue
		}
		before, err := Solve(in, Options{Objective: MaxFlow})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(in.Name, func(b *testing.B) {
			e := 0
			for b.Loop() {
				b.StopTimer()
				after := &Instance{Name: in.Name, Graph: in.Graph.Clone(), Demands: in.Demands}
				after.Graph.SetDown(e%in.Graph.NumLinks(), true)
				e += 37
				b.StartTimer()
				if _, err := Solve(after, Options{Objective: MaxFlow, Gap: 2e-3, Warm: before}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
