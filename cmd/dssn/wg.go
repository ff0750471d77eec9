package main

import (
	"github.com/spf13/cobra"

	"dssn/node/softport"
)

func wgCommand() *cobra.Command {
	var foreground bool
	cmd := &cobra.Command{
		Use:   "wg INTERFACE",
		Short: "Be a WireGuard interface: a faster stand-in for wireguard-go",
		Long: `wg makes a WireGuard interface and carries its packets, in the background
unless told otherwise, exactly as wireguard-go does: configure it with wg and
wg-quick, remove it with "ip link del". LOG_LEVEL=debug makes it talk.`,
		Example: "  dssn wg wg0\n  wg setconf wg0 /etc/wireguard/wg0.conf",
		Args:    exactly("INTERFACE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return softport.DropIn{Interface: args[0], Foreground: foreground}.Run(cmd.Context())
		},
	}
	cmd.Flags().BoolVarP(&foreground, "foreground", "f", false, "stay in the foreground")
	return cmd
}
