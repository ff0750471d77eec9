package main

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"dssn/dataplane/session"
	"dssn/node/softport"
)

// wgArguments lets the program stand where wg-quick and others expect
// wireguard-go, which is started with the interface's name and no subcommand: by a
// link of one of these names.
func wgArguments(args []string) ([]string, bool) {
	switch filepath.Base(args[0]) {
	case "dssn-wg", "wireguard-go":
		return append([]string{"wg"}, args[1:]...), true
	}
	return nil, false
}

func wgCommand() *cobra.Command {
	var foreground bool
	var workers int
	var frames softport.FrameLinks
	cmd := &cobra.Command{
		Use:   "wg INTERFACE",
		Short: "Be a WireGuard interface: a faster stand-in for wireguard-go",
		Long: `wg makes a WireGuard interface and carries its packets, in the background
unless told otherwise, exactly as wireguard-go does: configure it with wg and
wg-quick, remove it with "ip link del". LOG_LEVEL=debug makes it talk.

wg-quick starts it if it finds it under a name of its own: make a link dssn-wg
to this program and set WG_QUICK_USERSPACE_IMPLEMENTATION=dssn-wg. (Where the
kernel has WireGuard, wg-quick takes the kernel's.)

With --workers the peers are shared among several workers, each on a core of its own:
a peer is one worker's, so this helps where there are many.

On a router, --xdp-wan and --xdp-lan name the links towards the peers and towards
the hosts behind it. IPv6 packets between the two are then carried by AF_XDP
without passing through the kernel, and so without its firewall; IPv4, the
router's own traffic and everything that has no known neighbour still do. Worker
by worker they take the links' queues 0, 1, …; set as many with "ethtool -L".`,
		Example: "  dssn wg wg0\n  wg setconf wg0 /etc/wireguard/wg0.conf\n\n  dssn wg wg0 --xdp-lan eth0 --xdp-wan eth1",
		Args:    exactly("INTERFACE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if workers < 1 || workers > session.MaxWorkers {
				return usagef("--workers %d: give a number from 1 to %d", workers, session.MaxWorkers)
			}
			return softport.DropIn{Interface: args[0], Foreground: foreground, Workers: workers, Frames: frames}.Run(cmd.Context())
		},
	}
	cmd.Flags().BoolVarP(&foreground, "foreground", "f", false, "stay in the foreground")
	cmd.Flags().IntVar(&workers, "workers", 1, "share the peers among so many workers")
	cmd.Flags().StringVar(&frames.WAN, "xdp-wan", "", "carry IPv6 between the tunnels and this link by AF_XDP")
	cmd.Flags().StringVar(&frames.LAN, "xdp-lan", "", "and between the tunnels and the hosts on this link")
	return cmd
}
