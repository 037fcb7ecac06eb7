package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
)

func (c *command) reloadCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Apply what has changed in the config file",
		Long: `reload makes the host read its config again, check it with every plugin, and
apply what changed: limits and policies at once, a plugin's own settings at once
where the plugin can, else by another instance that takes over when it is ready.
A config with a fault changes nothing. SIGHUP does the same.`,
		Example:           `  gaia reload`,
		Args:              takes(0, 0, ""),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return c.reload(cmd.Context()) },
	}
}

func (c *command) reload(ctx context.Context) error {
	h, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer h.Close()
	reply, err := h.Reload(ctx, &hostv1.ReloadRequest{})
	if err != nil {
		return err
	}
	refused := &failure{code: exitConfig, text: "the config was refused; the host goes on with the one before"}
	if c.json {
		if err := c.printReply(reply); err != nil {
			return err
		}
		refused.text = ""
	} else if err := c.printReload(reply); err != nil {
		return err
	}
	if !reply.GetApplied() {
		return refused
	}
	return nil
}

func (c *command) printReload(reply *hostv1.ReloadResponse) error {
	if _, err := io.WriteString(c.Stderr, printable(reply.GetDiagnostics())); err != nil {
		return err
	}
	changes := reply.GetChanges()
	if len(changes) == 0 && reply.GetApplied() {
		changes = []string{"nothing has changed"}
	}
	for _, change := range changes {
		if _, err := fmt.Fprintln(c.Stdout, oneLine(change)); err != nil {
			return err
		}
	}
	return nil
}

func (c *command) restartCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "restart SUBSYSTEM",
		Short: "Replace a subsystem's instance by a new one of the same plugin",
		Long: `restart starts the next generation of a subsystem's plugin, lets it take over
when it is ready, and then lets the old one finish its calls. No call is lost. If
the new one does not become ready, the old one goes on undisturbed.`,
		Example:           `  gaia restart api_client_pool`,
		Args:              takes(1, 1, "a SUBSYSTEM"),
		ValidArgsFunction: c.completeSubsystem,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.replace(cmd.Context(), func(ctx context.Context, h *host) (*hostv1.Subsystem, error) {
				reply, err := h.Restart(ctx, &hostv1.RestartRequest{Subsystem: args[0]})
				return reply.GetSubsystem(), err
			})
		},
	}
}

func (c *command) swapCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "swap SUBSYSTEM [PLUGIN]",
		Short: "Replace a subsystem's plugin by another executable",
		Long: `swap does what restart does with another executable of the plugin directory,
or, without PLUGIN, with what is in the configured file now. The config file is
not changed: with the host's next start its plugin is back.`,
		Example: `  gaia swap api_client_pool gaia-api-client-pool-v2
  gaia swap api_client_pool`,
		Args:              takes(1, 2, "a SUBSYSTEM"),
		ValidArgsFunction: c.completeSwap,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := &hostv1.SwapRequest{Subsystem: args[0]}
			if len(args) > 1 {
				r.Plugin = args[1]
			}
			return c.replace(cmd.Context(), func(ctx context.Context, h *host) (*hostv1.Subsystem, error) {
				reply, err := h.Swap(ctx, r)
				return reply.GetSubsystem(), err
			})
		},
	}
}

// completeSwap completes a subsystem, then a plugin.
func (c *command) completeSwap(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return c.completeSubsystem(cmd, args, word)
	}
	return c.completePlugin(cmd, args[1:], word)
}

// replace asks for another instance and prints it.
func (c *command) replace(ctx context.Context, ask func(context.Context, *host) (*hostv1.Subsystem, error)) error {
	h, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer h.Close()
	s, err := ask(ctx, h)
	if err != nil {
		return err
	}
	if c.json {
		return c.printReply(s)
	}
	_, err = fmt.Fprintln(c.Stdout, oneLine(fmt.Sprintf("%s: generation %d of %s serves, pid %d, ready after %v",
		s.GetName(), s.GetGeneration(), s.GetPlugin(), s.GetPid(), s.GetStartDuration().AsDuration().Round(time.Millisecond))))
	return err
}
