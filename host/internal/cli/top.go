package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/gaia-go/gaia/host/internal/top"
	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
)

func (c *command) topCommand() *cobra.Command {
	var every time.Duration
	var once bool
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch what the subsystems do, live",
		Long: `top shows a row for each subsystem: its state, calls per second and those that
failed their callers (rejected ones included), the time that 95 of 100 calls took
at most, calls in flight and their limit, queued and rejected ones, restarts,
memory and CPU of its whole process tree. All rates are of the time since the
reading before, not since the host began. Details of one subsystem follow: its
methods, policies and last events; and the clients that call most.

Without a terminal, and with --once, it prints one table. With --json it prints
an object for each reading.`,
		Example: `  gaia top
  gaia top --every 250ms
  gaia top --once
  gaia top --once --json | jq '.subsystems[] | {name, p95_seconds}'`,
		Args:              takes(0, 0, ""),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().DurationVar(&every, "every", time.Second, "read the host every `TIME`, at least 100ms")
	cmd.Flags().BoolVar(&once, "once", false, "print one table, of two readings, and end")
	_ = cmd.RegisterFlagCompletionFunc("every", cobra.NoFileCompletions) // the flag is there
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if every < minEvery || every > maxEvery {
			return usageError(cmd, "--every %v is not from %v to %v", every, minEvery, maxEvery)
		}
		return c.top(cmd.Context(), every, once)
	}
	return cmd
}

// The bounds of how often top asks the host, which walks over all processes of
// the machine for an answer.
const (
	minEvery = 100 * time.Millisecond
	maxEvery = time.Hour
)

func (c *command) top(ctx context.Context, every time.Duration, once bool) error {
	h, err := c.connect(ctx)
	if err != nil {
		return err
	}
	live := !once && !c.json && isTerminal(c.Stdout) && isTerminal(c.Stdin) && c.Getenv("TERM") != "dumb"
	if !live {
		defer h.Close()
		return c.topPlain(ctx, h, every, once || !c.json)
	}
	watched := &watchedHost{connect: c.connect, host: h}
	defer watched.close()
	return top.Run(ctx, watched, every, top.Terminal{In: c.Stdin, Out: c.Stdout, Env: c.terminalEnv()})
}

// topPlain prints readings one after the other.
func (c *command) topPlain(ctx context.Context, h *host, every time.Duration, once bool) error {
	before, err := h.Stats(ctx, &hostv1.StatsRequest{})
	if err != nil {
		return err
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		now, err := h.Stats(ctx, &hostv1.StatsRequest{})
		if err != nil {
			return err
		}
		if err := c.printReading(top.Compare(before, now, time.Now())); err != nil || once {
			return err
		}
		before = now
	}
}

func (c *command) printReading(r *top.Reading) error {
	if c.json {
		line, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("internal: print JSON: %w", err)
		}
		_, err = c.Stdout.Write(append(line, '\n'))
		return err
	}
	_, err := fmt.Fprintln(c.Stdout, oneLine(r.Headline()))
	return errors.Join(err, table(c.Stdout, r.Rows()))
}
