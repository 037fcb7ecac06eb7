package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gaia-go/gaia/host/internal/nearest"
	"github.com/gaia-go/gaia/host/internal/top"
	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
)

func (c *command) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status [SUBSYSTEM]",
		Short: "Show the state of the subsystems",
		Example: `  gaia status
  gaia status api_client_pool --json`,
		Args:              takes(0, 1, ""),
		ValidArgsFunction: c.completeSubsystem,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.status(cmd.Context(), strings.Join(args, ""))
		},
	}
}

// status prints all subsystems, or the named one. It asks for all in any case,
// to know what a misspelt name was meant to be.
func (c *command) status(ctx context.Context, subsystem string) error {
	h, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer h.Close()
	reply, err := h.Status(ctx, &hostv1.StatusRequest{})
	if err != nil {
		return err
	}
	if subsystem != "" {
		if err := keepOnly(reply, subsystem); err != nil {
			return err
		}
	}
	if c.json {
		return c.printReply(reply)
	}
	now := time.Now()
	_, err = fmt.Fprintln(c.Stdout, oneLine(fmt.Sprintf("host %s  pid %d  up %s  config %s  http %s",
		reply.GetVersion(), reply.GetPid(), top.Span(now.Sub(reply.GetStartedAt().AsTime())), reply.GetConfig(), orDash(reply.GetHttp()))))
	if err != nil {
		return err
	}
	if err := table(c.Stdout, statusRows(reply.GetSubsystems(), now)); err != nil || subsystem == "" {
		return err
	}
	s := reply.GetSubsystems()[0]
	_, err = fmt.Fprintf(c.Stdout, "\nversion  %s\nsha256   %s\nspares   %d\nlimits   %s\n",
		oneLine(orDash(s.GetVersion())), orDash(s.GetSha256()), s.GetSpares(), oneLine(orDash(s.GetConfinement())))
	return err
}

// keepOnly leaves the named subsystem in reply.
func keepOnly(reply *hostv1.StatusResponse, name string) error {
	var names []string
	for _, s := range reply.GetSubsystems() {
		if s.GetName() == name {
			reply.Subsystems = []*hostv1.Subsystem{s}
			return nil
		}
		names = append(names, s.GetName())
	}
	problem := failed("no subsystem %q", name)
	if best, ok := nearest.Name(name, names); ok {
		return problem.hint("did you mean %q?", best)
	}
	if len(names) > 0 {
		return problem.hint("the subsystems are %s", strings.Join(names, ", "))
	}
	return problem
}

func statusRows(subsystems []*hostv1.Subsystem, now time.Time) [][]string {
	rows := [][]string{{"SUBSYSTEM", "PLUGIN", "STATE", "PID", "GENERATION", "RESTARTS", "UPTIME", "TRANSPORT", "IN FLIGHT", "REASON"}}
	for _, s := range subsystems {
		pid, uptime := "-", "-"
		if s.GetPid() != 0 {
			pid = number(s.GetPid())
		}
		if s.GetReadySince() != nil {
			uptime = top.Span(now.Sub(s.GetReadySince().AsTime()))
		}
		calls := number(s.GetInFlight())
		if s.GetQueued() > 0 {
			calls += "+" + number(s.GetQueued()) + " queued"
		}
		state := strings.ToLower(s.GetState().String())
		if s.GetAttached() {
			state = "attached"
		}
		rows = append(rows, []string{
			s.GetName(), s.GetPlugin(), state, pid,
			number(s.GetGeneration()), number(s.GetRestarts()), uptime, orDash(s.GetTransport()), calls, orDash(s.GetReason()),
		})
	}
	return rows
}
