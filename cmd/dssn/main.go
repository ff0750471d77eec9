// Command dssn is the whole data switching service network in one program:
// controller, backbone node, access terminal, and what their people type.
//
// Each subcommand has its own file with a function xxxCommand that returns it;
// this file lists them. Everything a command does lives in a room of its own;
// here is only what a person sees: flags, words, exit codes.
//
// A command that worked exits 0. One that did not prints a single line,
// "dssn: what happened; what to do next", and exits 1; a line that was typed
// wrongly or input that makes no sense exits 2. --json prints values instead of
// words on every command that prints anything.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// family is a group of subcommands for one kind of user, in the order in which
// that person meets them.
type family struct {
	title string
	list  []*cobra.Command
}

func families() []family {
	return []family{
		{"For institutions:", []*cobra.Command{
			publishCommand(), datasetCommand(), datasetsCommand(), grantCommand(), revokeCommand(),
			approveCommand(), freezeCommand(), unfreezeCommand(), freezesCommand(),
			reserveCommand(), quoteCommand(), reservationsCommand(), releaseCommand(), modifyCommand(), extendCommand(), boostCommand(), whyCommand(), getCommand(),
			usageCommand(), billCommand(), receiptCommand(), evidenceCommand(),
		}},
		{"For operators:", []*cobra.Command{
			controllerCommand(), nodeCommand(), institutionCommand(), roleCommand(), policyCommand(), tokenCommand(), personCommand(),
			statusCommand(), eventsCommand(),
		}},
		{"For engineers:", []*cobra.Command{
			planCommand(), labCommand(), perfCommand(), doctorCommand(), traceCommand(), wgCommand(), versionCommand(),
		}},
	}
}

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := rootCommand()
	if args, ok := wgArguments(os.Args); ok {
		root.SetArgs(args)
	}
	err := root.ExecuteContext(ctx)
	return report(os.Stderr, err)
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "dssn",
		Short: "The data switching service network",
		Long: `dssn carries data between institutions the way a telephone exchange carried
calls: a dataset's identifier is an IPv6 address, and a packet sent to it
reaches the nearest permitted holder through an encrypted, metered tunnel.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	root.PersistentFlags().Bool("json", false, "print values as JSON instead of words")
	root.PersistentFlags().String("state", os.Getenv("DSSN_STATE"), "state `directory` of the node or controller (environment: DSSN_STATE)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%v; `%s --help` lists what it takes", err, cmd.CommandPath())
	})
	root.SuggestionsMinimumDistance = 2
	cobra.EnableCommandSorting = false
	for _, f := range families() {
		root.AddGroup(&cobra.Group{ID: f.title, Title: f.title})
		for _, c := range f.list {
			c.GroupID = f.title
			root.AddCommand(c)
		}
	}
	root.SetHelpCommandGroupID(families()[2].title)
	root.SetCompletionCommandGroupID(families()[2].title)
	completeArguments(root)
	return root
}
