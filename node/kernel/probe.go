package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// probePrefix is what ProbeNextCSID sets for a moment. It lies in RFC 9602's
// 5f00::/16 at a block and identifier that nobody should use.
var probePrefix = netip.MustParsePrefix("5f00:ffff:ffff::/48")

// ErrNoNextCSID is wrapped by ProbeNextCSID if the kernel cannot shift carriers.
var ErrNoNextCSID = errors.New("the kernel has no seg6local End with the next-csid flavour (Linux 6.1 with CONFIG_IPV6_SEG6_LWTUNNEL has it)")

// ProbeNextCSID sets an End route, reads it back, and removes it. Reading back
// matters: a kernel that does not know flavours ignores them without a word,
// and would then drop carriers. Nil means that carriers are shifted.
func (k *Host) ProbeNextCSID() error {
	r := Route{Prefix: probePrefix, Metric: MetricPrimary, Kind: End, Interface: "lo"}
	if err := k.route("set", r, k.handle.RouteReplace); err != nil {
		if errors.Is(err, unix.EPERM) {
			return fmt.Errorf("probe next-csid: %w", err)
		}
		return fmt.Errorf("%w: %w", ErrNoNextCSID, err)
	}
	defer k.route("remove", r, k.handle.RouteDel)
	have, err := k.Present()
	if err != nil {
		return fmt.Errorf("probe next-csid: %w", err)
	}
	for _, is := range have.Routes {
		if is == r {
			return nil
		}
	}
	return ErrNoNextCSID
}

// SettingExists reports whether the kernel has a setting.
func SettingExists(name string) bool {
	path, err := settingPath(name)
	if err != nil {
		return false
	}
	_, err = os.Stat(path)
	return err == nil
}
