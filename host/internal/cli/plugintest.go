package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gaia-go/gaia/host/internal/config"
	"github.com/gaia-go/gaia/host/internal/registry"
	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
	"github.com/gaia-go/gaia/sdk/conformance"
)

func (c *command) pluginTestCommand() *cobra.Command {
	var subsystem string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "test BINARY",
		Short: "Check that a program is a good plugin",
		Long: `test runs the program as the host does, treats it well and badly, and says of
each promise of a plugin whether it was kept, and if not, what to do. It needs no
running host. It calls the methods that are declared to have no side effects.

With --config the plugin gets the config{} block of the subsystem that uses it;
--subsystem says which one, if several do.`,
		Example: `  gaia plugin test bin/plugins/hello
  gaia plugin test bin/word-counter --config config.hcl`,
		Args: takes(1, 1, "the BINARY to test"),
	}
	cmd.Flags().StringVar(&subsystem, "subsystem", "", "take the config of this `SUBSYSTEM`")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "print what the plugin writes to standard error")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o := conformance.Options{Binary: args[0], Describe: usable, Reflect: reflected}
		if subsystem != "" || cmd.Flags().Changed("config") {
			s, err := c.subsystemOf(args[0], subsystem)
			if err != nil {
				return err
			}
			o.Config = decodeConfig(s)
		}
		if verbose {
			o.Output = func(line []byte) { _, _ = fmt.Fprintf(c.Stderr, "%s\n", printable(string(line))) }
		}
		return c.pluginTest(cmd.Context(), o)
	}
	return cmd
}

// usable reads a description as the host does.
func usable(d *pluginv1.DescribeResponse) error {
	_, err := registry.NewDescription(d)
	return err
}

// reflected learns of a plugin without Describe as the host does.
func reflected(ctx context.Context, conn grpc.ClientConnInterface) (*pluginv1.DescribeResponse, error) {
	d, err := registry.Describe(ctx, conn)
	if err != nil {
		return nil, err
	}
	return &pluginv1.DescribeResponse{Name: "by reflection", Services: d.Services, Files: d.Set}, nil
}

// subsystemOf finds the subsystem of the config that uses a program, or has a
// name.
func (c *command) subsystemOf(binary, name string) (*config.Subsystem, error) {
	cfg, report := config.Load(c.configPath, nil)
	if report.HasErrors() {
		return nil, c.refuseConfig(report)
	}
	var uses []string
	var found *config.Subsystem
	for i := range cfg.Subsystems {
		s := &cfg.Subsystems[i]
		if s.Name == name {
			return s, nil
		}
		if s.Plugin == filepath.Base(binary) {
			uses, found = append(uses, s.Name), s
		}
	}
	problem := &failure{code: exitConfig}
	switch {
	case name != "":
		problem.text = fmt.Sprintf("%s has no subsystem %q", c.configPath, name)
	case len(uses) == 0:
		problem.text = fmt.Sprintf("no subsystem of %s has plugin = %q; --subsystem says whose config to take", c.configPath, filepath.Base(binary))
	case len(uses) > 1:
		problem.text = fmt.Sprintf("%s has plugin = %q in the subsystems %s; --subsystem says whose config to take", c.configPath, filepath.Base(binary), strings.Join(uses, ", "))
	default:
		return found, nil
	}
	return nil, problem
}

// configFault is a config{} block that does not fit the plugin.
type configFault struct{ report *config.Report }

func (f *configFault) Error() string { return f.report.Err().Error() }

func decodeConfig(s *config.Subsystem) func(protoreflect.MessageDescriptor) (proto.Message, error) {
	return func(md protoreflect.MessageDescriptor) (proto.Message, error) {
		message, report := s.DecodeConfig(md)
		if report.HasErrors() {
			return nil, &configFault{report}
		}
		return message, nil
	}
}

// testView is `plugin test --json`.
type testView struct {
	Binary  string               `json:"binary"`
	Passed  int                  `json:"passed"`
	Failed  int                  `json:"failed"`
	Skipped int                  `json:"skipped"`
	Checks  []conformance.Result `json:"checks"`
}

func (c *command) pluginTest(ctx context.Context, o conformance.Options) error {
	view := testView{Binary: o.Binary, Checks: []conformance.Result{}}
	var seconds float64
	o.Done = func(r conformance.Result) {
		view.Checks = append(view.Checks, r)
		seconds += r.Seconds
		switch r.Status {
		case conformance.Passed:
			view.Passed++
		case conformance.Failed:
			view.Failed++
		case conformance.Skipped:
			view.Skipped++
		}
		if !c.json {
			_, _ = fmt.Fprint(c.Stdout, printable(checkText(r)))
		}
	}
	_, err := conformance.Run(ctx, o)
	var faulty *configFault
	switch {
	case errors.As(err, &faulty):
		return c.refuseConfig(faulty.report)
	case errors.Is(err, fs.ErrNotExist):
		return failed("there is no program %s", o.Binary)
	case err != nil:
		return err
	}
	if c.json {
		err = c.printJSON(view)
	} else {
		_, err = fmt.Fprintf(c.Stdout, "\n%s: %d passed, %d failed, %d skipped in %.1fs\n", o.Binary, view.Passed, view.Failed, view.Skipped, seconds)
	}
	if err == nil && view.Failed > 0 {
		return &failure{code: exitRuntime}
	}
	return err
}

// checkText is one check as people read it.
func checkText(r conformance.Result) string {
	text := fmt.Sprintf("%s  %s\n", r.Status, r.Name)
	switch r.Status {
	case conformance.Failed:
		text = "FAIL" + text[4:]
		for _, line := range [][2]string{{"want", r.Want}, {"got", r.Got}, {"to do", r.Fix}} {
			text += fmt.Sprintf("        %-6s %s\n", line[0], strings.ReplaceAll(line[1], "\n", " "))
		}
	case conformance.Skipped:
		text += fmt.Sprintf("        %s\n", r.Reason)
	case conformance.Passed:
	}
	return text
}
