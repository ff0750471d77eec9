package main

import (
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"dssn"
	"dssn/controller"
)

func controllerCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "controller",
		Short: "Run the controller of a network",
	}, controllerRunCommand(), controllerBackupCommand(), controllerRestoreCommand(), controllerBGPCommand())
}

func controllerRunCommand() *cobra.Command {
	var o controller.Options
	var block, operator string
	cmd := &cobra.Command{
		Use:   "run [--topology FILE]",
		Short: "Run a controller in the foreground",
		Long: `The state directory holds everything: one database with the journal, the
certificate authority's key, and controller.sock for the local operator. It can be
killed at any moment without loss of what was acknowledged; nodes go on without it.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.RenewGrace == 0 {
				o.RenewGrace = -1
			}
			if o.Block, err = netip.ParsePrefix(block); err != nil {
				return usagef("%q is not a locator block: write an IPv6 /32 such as %s", block, dssn.LabBlock)
			}
			if o.Operator, err = netip.ParsePrefix(operator); err != nil {
				return usagef("%q is not an operator's prefix: write an IPv6 /32 such as 3fff:d55::/32", operator)
			}
			if o.Topology != "" { // before anything is made
				if _, err := topologyFile(o.Topology); err != nil {
					return err
				}
			}
			o.State = stateDir(cmd, defaultControllerState)
			o.Version = thisVersion().Version
			o.Logger = logger(cmd)
			o.BGPCommand = func() *exec.Cmd {
				program, err := os.Executable()
				if err != nil {
					program = os.Args[0]
				}
				return exec.Command(program, "controller", "bgp", "run")
			}
			o.Ready = func(urls []string) { o.Logger.Info("ready", "urls", strings.Join(urls, " ")) }
			return controller.Run(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Store, "store", "", "postgres:// `URL` of the database that keeps the journal instead of a file in --state; while another controller leads there, this one waits")
	f.StringVar(&o.Topology, "topology", "", "te-topology/1 `file` of the backbone; may be left out once the state knows one")
	f.StringVar(&o.Tariff, "tariff", "", "tariff `file` (default: the standard tariff)")
	f.StringVar(&o.Profiles, "qos-profiles", "", "dssn-qos-profiles/1 `file`: what CAMARA's sessions are offered (default: the standard profiles)")
	f.StringVar(&o.SinkCA, "sink-ca", "", "PEM `file`: certificates that vouch for sinks of notifications, beside the system's")
	f.StringVar(&o.Witnesses, "witnesses", "", "policy `file` naming the witnesses that cosign the evidence log (default: none)")
	f.StringVar(&o.BGP, "bgp", "", "dssn-bgp/1 `file`: announce the identifiers' regions to other domains (default: speak to none)")
	f.StringVar(&o.DNS, "dns", "", "`ADDR:PORT` to answer names of datasets at, to whoever asks (default: no name server)")
	f.StringVar(&o.DNSDomain, "dns-domain", "", "`domain` of the names: NAME.REGISTRANT.data.DOMAIN")
	f.StringSliceVar(&o.Listen, "listen", []string{"[::]:8443"}, "`address` to answer nodes and programs at, with TLS")
	f.DurationVar(&o.RenewGrace, "renew-grace", controller.DefaultRenewGrace, "how long after its `end` a node's certificate can still be renewed with its old key; negative: not at all")
	f.StringVar(&block, "block", dssn.LabBlock.String(), "locator `block` of the network's SIDs")
	f.StringVar(&operator, "operator", "3fff:d55::/32", "the operator's `prefix`, from which institutions get their /64")
	return cmd
}

// logger writes what a long-running program has to say to standard error, as
// one line of key=value pairs each.
func logger(cmd *cobra.Command) *slog.Logger {
	return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
}
