package lab

import (
	"os"
	"testing"

	"dssn/internal/enclose"
)

func TestMain(m *testing.M) {
	if id := os.Getenv(helperVariable); id != "" {
		os.Exit(helper(id))
	}
	os.Exit(enclose.Main(m.Run))
}
