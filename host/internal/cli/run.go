package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/gaia-go/gaia/host/internal/app"
	"github.com/gaia-go/gaia/host/internal/nearest"
)

func (c *command) runCommand() *cobra.Command {
	var level string
	var noLink bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the host until it is interrupted",
		Long: `run starts every subsystem of the config and serves calls until it gets
SIGINT or SIGTERM. Then it lets the calls in flight finish; a second signal
ends it at once. SIGHUP reloads the config.`,
		Example:           `  gaia run -config config.hcl`,
		Args:              takes(0, 0, ""),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVar(&level, "log-level", "info", "log from this `LEVEL`: trace, debug, info, warn or error")
	cmd.Flags().BoolVar(&noLink, "no-link", false, "let all calls go over gRPC, to compare or to find a fault")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkLevel(cmd, level); err != nil {
			return err
		}
		return c.run(cmd.Context(), level, noLink)
	}
	return cmd
}

func checkLevel(cmd *cobra.Command, level string) error {
	levels := []string{"trace", "debug", "info", "warn", "error"}
	if slices.Contains(levels, level) {
		return nil
	}
	problem := usageError(cmd, "--log-level %q is not trace, debug, info, warn or error", level)
	if best, ok := nearest.Name(level, levels); ok {
		problem.hints = slices.Insert(problem.hints, 0, "did you mean "+best+"?")
	}
	return problem
}

// run ends without an error when ctx ends: for a daemon that is success.
func (c *command) run(ctx context.Context, level string, noLink bool) error {
	hangup := make(chan os.Signal, 1) // one that comes during a reload is another reload
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	err := app.Run(ctx, app.Options{
		ConfigPath: c.configPath,
		Stdout:     c.Stdout,
		Stderr:     c.Stderr,
		JSON:       c.json,
		Color:      c.color(c.Stderr),
		LogLevel:   level,
		NoLink:     noLink,
		Version:    c.version(),
		Hangup:     hangup,
	})
	var faulty *app.ConfigError
	switch {
	case errors.As(err, &faulty):
		if err := faulty.Report.WriteText(c.Stderr, c.color(c.Stderr)); err != nil {
			return err
		}
		return &failure{code: exitConfig, text: fmt.Sprintf("nothing was started: %v", faulty)}
	case ctx.Err() != nil && isCancelled(err):
		return nil
	default:
		return err
	}
}
