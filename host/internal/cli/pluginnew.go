package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gaia-go/gaia/host/internal/nearest"
	"github.com/gaia-go/gaia/host/internal/protoc"
	"github.com/gaia-go/gaia/host/internal/scaffold"
)

func (c *command) pluginNewCommand() *cobra.Command {
	var o scaffold.Options
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Write a new plugin: small, whole, ready to build",
		Long: `new writes a plugin that builds, passes its tests and runs by the commands
that it prints: its API in proto, its code, a test, a config.hcl to try it with
and a README. NAME is lower-case letters, digits and dashes, such as word-counter.`,
		Example: `  gaia plugin new word-counter
  gaia plugin new word-counter --lang python --dir plugins/word-counter`,
		Args:              takes(1, 1, "the NAME of the plugin"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVar(&o.Lang, "lang", "go", "write it in this `LANGUAGE`: go or python")
	cmd.Flags().StringVar(&o.Dir, "dir", "", "write it to this `FOLDER`, which must not exist; default NAME")
	cmd.Flags().StringVar(&o.Checkout, "sdk", "", "build it with the sdk of this `CHECKOUT` of gaia; default: the one that gaia was built in")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.Name = args[0]
		if err := c.checkNew(cmd, &o); err != nil {
			return err
		}
		return c.pluginNew(cmd.Context(), o)
	}
	_ = cmd.RegisterFlagCompletionFunc("lang", cobra.FixedCompletions(scaffold.Languages(), noFiles))
	return cmd
}

// checkNew completes the options, or says what is wrong with the command line.
func (c *command) checkNew(cmd *cobra.Command, o *scaffold.Options) error {
	if err := scaffold.CheckName(o.Name); err != nil {
		return usageError(cmd, "%v", err)
	}
	if !slices.Contains(scaffold.Languages(), o.Lang) {
		problem := usageError(cmd, "--lang %q is not %s", o.Lang, strings.Join(scaffold.Languages(), " or "))
		if best, ok := nearest.Name(o.Lang, scaffold.Languages()); ok {
			problem.hints = slices.Insert(problem.hints, 0, "did you mean "+best+"?")
		}
		return problem
	}
	if o.Dir == "" {
		o.Dir = o.Name
	}
	if o.Checkout != "" {
		checkout, err := scaffold.CheckCheckout(o.Checkout)
		if err != nil {
			return usageError(cmd, "--sdk: %v", err)
		}
		o.Checkout = checkout
	} else if program, err := os.Executable(); err == nil {
		o.Checkout = scaffold.FindCheckout(program)
	}
	return nil
}

// newView is `plugin new --json`.
type newView struct {
	Dir      string   `json:"dir"`
	Files    []string `json:"files"`
	Commands []string `json:"commands"` // to build, test and try it, in this order
}

func (c *command) pluginNew(ctx context.Context, o scaffold.Options) error {
	result, err := scaffold.New(ctx, o)
	if err != nil {
		return err
	}
	view := newView{Dir: result.Dir, Files: result.Files, Commands: commandsFor(ctx, o, result, programName())}
	if c.json {
		return c.printJSON(view)
	}
	if !result.Complete {
		_, _ = fmt.Fprintf(c.Stderr, "gaia: hint: no checkout of gaia was found, so go.mod requires the release of its sdk; --sdk CHECKOUT builds with one\n")
	}
	_, err = fmt.Fprintf(c.Stdout, "%s: a plugin in %s, %d files. To build it, test it and try it:\n\n  %s\n", view.Dir, o.Lang, len(view.Files), strings.Join(view.Commands, "\n  "))
	return err
}

// commandsFor are what a user types next, each on a line of its own. gaia is how
// this program is called.
func commandsFor(ctx context.Context, o scaffold.Options, r *scaffold.Result, gaia string) []string {
	subsystem := strings.ReplaceAll(o.Name, "-", "_")
	commands := []string{"cd " + quoted(r.Dir)}
	if o.Lang == "go" {
		if inWorkspace(ctx, r.Dir) {
			commands = append(commands, "export GOWORK=off")
		}
		if !r.Complete {
			commands = append(commands, "go mod tidy", gaia+" plugin generate", "go mod tidy")
		}
		commands = append(commands, "go build -o bin/"+o.Name+" .")
	}
	program := map[string]string{"go": "bin/" + o.Name, "python": o.Name}[o.Lang]
	return append(commands,
		gaia+" plugin test "+program+" --config config.hcl",
		gaia+" run -config config.hcl   # and then, in another terminal:",
		gaia+" call "+subsystem+".Greet name=Ada",
	)
}

// inWorkspace reports whether Go would take dir for a part of a workspace that
// does not have it.
func inWorkspace(ctx context.Context, dir string) bool {
	cmd := exec.CommandContext(ctx, "go", "env", "GOWORK")
	cmd.Dir = dir
	output, err := cmd.Output()
	work := strings.TrimSpace(string(output))
	return err == nil && work != "" && work != "off"
}

// programName is what a user types to run this program again.
func programName() string {
	program, err := os.Executable()
	if err != nil {
		return "gaia"
	}
	if found, err := exec.LookPath("gaia"); err == nil {
		if found, err = filepath.EvalSymlinks(found); err == nil {
			if own, err := filepath.EvalSymlinks(program); err == nil && own == found {
				return "gaia"
			}
		}
	}
	return quoted(program)
}

// quoted writes a word so that a shell takes it for one.
func quoted(word string) string {
	if !strings.ContainsFunc(word, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./@+,=:", r)
	}) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

func (c *command) pluginGenerateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "generate [FOLDER]",
		Short: "Generate code and descriptors from a plugin's .proto files",
		Long: `generate compiles what is below FOLDER/proto and writes descriptors.binpb, by
which the plugin describes itself, and in a Go module the code of the messages
and services. It needs nothing but Go: the versions of the generators are those
of the module's tool lines.`,
		Example:           `  gaia plugin generate`,
		Args:              takes(0, 1, ""),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			return c.pluginGenerate(cmd.Context(), dir)
		},
	}
}

func (c *command) pluginGenerate(ctx context.Context, dir string) error {
	written, err := protoc.Generate(ctx, dir)
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(map[string][]string{"written": written})
	}
	_, err = fmt.Fprintln(c.Stdout, strings.Join(written, "\n"))
	return err
}
