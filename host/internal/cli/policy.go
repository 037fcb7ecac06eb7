package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/gaia-go/gaia/host/internal/request"
	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
)

func (c *command) policyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "policy",
		Short:   "Show the policies that calls must pass",
		Example: `  gaia policy explain api_client_pool.Do url=https://api.github.com/`,
		Args:    cobra.ArbitraryArgs,
		RunE:    unknownCommand,
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "explain SUBSYSTEM.METHOD [FIELD=VALUE...]",
		Short: "Show each policy that applies to a call, its values, their sources and its state",
		Long: `explain makes no call. It prints, in the order in which a call passes them, the
policies of the subsystem: what they allow, where each value comes from (a line
of the config, a default of the plugin or of the host) and how they stand at this
moment. FIELD=VALUE is what gaia call takes; policies with a key, such as the
domain of a URL, are explained for the value that the request has.`,
		Example: `  gaia policy explain api_client_pool.Do url=https://api.github.com/
  gaia policy explain api_client_pool.Do --json`,
		ValidArgsFunction: c.completeCall,
		Args:              takes(1, maxArguments, "SUBSYSTEM.METHOD"),
		RunE:              func(cmd *cobra.Command, args []string) error { return c.explain(cmd.Context(), args[0], args[1:]) },
	})
	return cmd
}

func (c *command) explain(ctx context.Context, target string, args []string) error {
	h, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer h.Close()
	subsystem, name, hasMethod := strings.Cut(target, ".")
	d, err := h.describe(ctx, subsystem)
	if err != nil {
		return err
	}
	if !hasMethod {
		return noMethodNamed(subsystem)
	}
	m, err := d.method(subsystem, name)
	if err != nil {
		return err
	}
	parser := request.Parser{Types: d.types, ReadFile: os.ReadFile, Stdin: c.stdin(ctx)}
	message, err := parser.Parse(m.Input(), args)
	if err != nil {
		return err
	}
	body, err := proto.Marshal(message)
	if err != nil {
		return fmt.Errorf("internal: request: %w", err)
	}
	reply, err := h.Explain(ctx, &hostv1.ExplainRequest{Subsystem: subsystem, Method: methodPath(m), Request: body})
	if err != nil {
		return err
	}
	if c.json {
		return c.printReply(reply)
	}
	return c.printPolicies(reply)
}

func (c *command) printPolicies(reply *hostv1.ExplainResponse) error {
	rows := [][]string{{"POLICY", "SETTING", "VALUE", "SOURCE", "STATE"}}
	for _, p := range reply.GetPolicies() {
		first := []string{p.GetName(), "-", "-", "-", p.GetState()}
		if p.GetExempt() != "" {
			first[4] = "does not apply: " + p.GetExempt()
			rows = append(rows, first)
			continue
		}
		for i, s := range p.GetSettings() {
			row := []string{"", s.GetPath(), s.GetValue(), s.GetSource(), ""}
			if i == 0 {
				row[0], row[4] = p.GetName(), p.GetState()
			}
			rows = append(rows, row)
		}
		if len(p.GetSettings()) == 0 {
			rows = append(rows, first)
		}
	}
	if err := table(c.Stdout, rows); err != nil {
		return err
	}
	_, err := io.WriteString(c.Stdout, "\n"+repeats(reply)+"\n")
	return err
}

// repeats says when a call is repeated.
func repeats(reply *hostv1.ExplainResponse) string {
	for _, p := range reply.GetPolicies() {
		if p.GetName() == "retry" && p.GetExempt() != "" {
			return "The call is never repeated: " + p.GetExempt() + "."
		}
	}
	if reply.GetIdempotent() {
		return "The call is idempotent: it is repeated when its instance is lost."
	}
	return "The call is not idempotent, or a stream: it is repeated only if it never reached the plugin."
}
