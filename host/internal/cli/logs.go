package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
)

func (c *command) logsCommand() *cobra.Command {
	var follow bool
	var tail uint32
	cmd := &cobra.Command{
		Use:   "logs SUBSYSTEM",
		Short: "Show what a subsystem logged and wrote",
		Long: `logs prints the lines that the instances of a subsystem logged or wrote,
oldest first. With --json each line is one JSON object.`,
		Example: `  gaia logs api_client_pool -n 20
  gaia logs api_client_pool -f`,
		Args:              takes(1, 1, "a SUBSYSTEM"),
		ValidArgsFunction: c.completeSubsystem,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.logs(cmd.Context(), &hostv1.LogsRequest{Subsystem: args[0], Tail: tail, Follow: follow})
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with the lines to come, until interrupted")
	cmd.Flags().Uint32VarP(&tail, "tail", "n", 0, "print only the last `NUMBER` of the lines that are kept; 0 prints all")
	return cmd
}

func (c *command) logs(ctx context.Context, r *hostv1.LogsRequest) error {
	h, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer h.Close()
	lines, err := h.Logs(ctx, r)
	if err != nil {
		return err
	}
	color := c.color(c.Stdout)
	return printStream(c, lines.Recv, func(l *hostv1.LogsResponse) string { return logLine(l, color) })
}

// printStream prints each message that comes as one line, of JSON or for people.
func printStream[M proto.Message](c *command, receive func() (M, error), line func(M) string) error {
	for {
		m, err := receive()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case c.json:
			err = c.printProtoJSON(m, protojson.MarshalOptions{EmitDefaultValues: true}, false)
		default:
			_, err = fmt.Fprintln(c.Stdout, line(m))
		}
		if err != nil {
			return err
		}
	}
}

// logLine writes a line for people, with the time of their time zone.
func logLine(l *hostv1.LogsResponse, color bool) string {
	var b strings.Builder
	level := fmt.Sprintf("%-5s", strings.ToUpper(l.GetLevel()))
	fmt.Fprintf(&b, "%s %s %s/%d[%d] %s",
		l.GetTime().AsTime().Local().Format("15:04:05.000"), level,
		l.GetSubsystem(), l.GetGeneration(), l.GetPid(), l.GetMessage())
	for _, key := range slices.Sorted(maps.Keys(l.GetFields())) {
		fmt.Fprintf(&b, " %s=%s", key, fieldValue(l.GetFields()[key]))
	}
	line := oneLine(b.String())
	if color {
		line = strings.Replace(line, level, levelColor(l.GetLevel())+level+"\x1b[0m", 1)
	}
	return line
}

// fieldValue quotes what would not read as one value.
func fieldValue(value string) string {
	if value == "" || strings.ContainsAny(value, " \t\n\"=") {
		return strconv.Quote(value)
	}
	return value
}

func levelColor(level string) string {
	switch level {
	case "error":
		return "\x1b[31m" // red
	case "warn":
		return "\x1b[33m" // yellow
	case "info":
		return "\x1b[32m" // green
	default:
		return "\x1b[2m" // dim
	}
}
