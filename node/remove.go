package node

import (
	"fmt"
	"os"
	"path/filepath"

	"dssn/node/kernel"
)

// Remove removes from the kernel whatever the node of a state directory left
// there, for example after SIGKILL. It refuses while the node runs. What it
// joined as stays in the directory.
func Remove(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, fileIdentity)); err != nil {
		return fmt.Errorf("%s holds no node: name its directory with --state", dir)
	}
	s, err := openState(dir)
	if err != nil {
		return err
	}
	defer s.close()
	h, err := kernel.Open(s.path(fileSettings))
	if err != nil {
		return err
	}
	defer h.Close()
	if err := h.Remove(); err != nil {
		return err
	}
	if err := os.Remove(s.path(fileSocket)); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("remove the local API's socket: %w", err)
	}
	return nil
}
