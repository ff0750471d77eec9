package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"dssn/controller"
)

func controllerBackupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "backup DIRECTORY",
		Short: "Copy a controller's state while it runs",
		Long: `DIRECTORY is made and holds the database, as of one moment, and the authority's
key and certificate: all secrets of the network. The controller goes on meanwhile;
it need not run either. Restore it with: dssn controller restore DIRECTORY`,
		Args: exactly("DIRECTORY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			state := stateDir(cmd, defaultControllerState)
			if err := controller.Backup(cmd.Context(), state, args[0]); err != nil {
				return err
			}
			return emit(cmd, map[string]any{"state": state, "backup": args[0]}, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "the state of %s is in %s: it holds the network's secrets\n", state, args[0])
				return err
			})
		},
	}
}

func controllerRestoreCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "restore DIRECTORY",
		Short: "Make a controller's state from a backup",
		Long: `Every entry of the backup's journal is checked first. The state directory must not
hold a controller's state. What happened after the backup is not in it; nodes keep
their certificates and come back by themselves.`,
		Args: exactly("DIRECTORY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			state := stateDir(cmd, defaultControllerState)
			n, err := controller.Restore(cmd.Context(), args[0], state)
			if err != nil {
				return err
			}
			return emit(cmd, map[string]any{"state": state, "backup": args[0], "entries": n}, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s has the %d journal entries of %s, each checked: start it with dssn controller run --state %s\n", state, n, args[0], state)
				return err
			})
		},
	}
}
