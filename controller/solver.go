package controller

import (
	"context"
	"math/rand/v2"
	"time"

	"dssn/controller/core"
)

// solveEvery is how often the solver looks whether there is work for it.
const solveEvery = time.Second

// solve looks, outside of the core, for paths that keep more of what is promised while
// something is not kept, and hands what it found in as an input. A version of the
// promises is solved once; what changed meanwhile makes the core refuse the answer, and
// the next look starts from there. It ends with ctx.
func (c *Controller) solve(ctx context.Context) {
	tick := time.NewTicker(solveEvery)
	defer tick.Stop()
	solved := int64(-1)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var snapshot []byte
		var version int64
		var err error
		c.engine.query(func(k *core.Core) {
			short := false
			if version, short = k.Short(); short && version != solved {
				snapshot, err = k.Snapshot()
			}
		})
		if err != nil || snapshot == nil {
			continue
		}
		solved = version
		found, err := core.Solve(snapshot, rand.Shuffle)
		if err != nil || found == nil {
			continue // nothing is better than what there is
		}
		if _, err := c.engine.submit(ctx, core.Input{Repack: found}); err != nil {
			c.logger.Info("paths that were found are not taken", "error", err)
		}
	}
}
