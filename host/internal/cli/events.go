package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
)

func (c *command) eventsCommand() *cobra.Command {
	var follow bool
	var tail uint32
	cmd := &cobra.Command{
		Use:   "events [SUBSYSTEM]",
		Short: "Show what happened to the subsystems and why",
		Long: `events prints each start, exit and change of state that the host remembers,
oldest first. With --json each line is one JSON object.`,
		Example: `  gaia events -n 20
  gaia events api_client_pool -f`,
		Args:              takes(0, 1, ""),
		ValidArgsFunction: c.completeSubsystem,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.events(cmd.Context(), &hostv1.EventsRequest{Subsystem: strings.Join(args, ""), Tail: tail, Follow: follow})
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with the events to come, until interrupted")
	cmd.Flags().Uint32VarP(&tail, "tail", "n", 0, "print only the last `NUMBER` of the events that are kept; 0 prints all")
	return cmd
}

func (c *command) events(ctx context.Context, r *hostv1.EventsRequest) error {
	h, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer h.Close()
	events, err := h.Events(ctx, r)
	if err != nil {
		return err
	}
	return printStream(c, events.Recv, eventLine)
}

// eventLine writes an event for people, with the time of their time zone.
func eventLine(e *hostv1.EventsResponse) string {
	who := e.GetSubsystem()
	switch {
	case who == "":
		who = "host"
	case e.GetPid() != 0:
		who = fmt.Sprintf("%s/%d[%d]", who, e.GetGeneration(), e.GetPid())
	case e.GetGeneration() != 0:
		who = fmt.Sprintf("%s/%d", who, e.GetGeneration())
	}
	line := fmt.Sprintf("%s %s %s", e.GetTime().AsTime().Local().Format("15:04:05.000"), who, e.GetKind())
	if e.GetReason() != "" {
		line += ": " + e.GetReason()
	}
	return oneLine(line)
}
