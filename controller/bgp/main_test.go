package bgp

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"dssn/internal/enclose"
)

// The test program is also the speaker's process, with this variable set.
const beSpeaker = "BGP_TEST_SPEAKER"

func TestMain(m *testing.M) {
	if os.Getenv(beSpeaker) != "" {
		if err := Serve(context.Background(), os.Stdin, os.Stdout, slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
			fmt.Fprintln(os.Stderr, "dssn:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(enclose.Main(m.Run))
}
