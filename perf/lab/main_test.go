package lab

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"dssn/internal/enclose"
)

// TestMain also lets the test program be the one that moves the frames of a
// lab's wires, as dssn is outside of tests.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "lab" && os.Args[2] == "wires" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := ServeWires(ctx, os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if id := os.Getenv(helperVariable); id != "" {
		os.Exit(helper(id))
	}
	os.Exit(enclose.Main(m.Run))
}
