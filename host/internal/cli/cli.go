// Package cli is the gaia command: each sub-command is a client of the host's
// own gRPC API, or of its config file.
package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/gaia-go/gaia/host/internal/progress"
)

// Env is the process that a command runs in.
type Env struct {
	// Stdin is read by commands that are told to, with "-". Required.
	Stdin io.Reader

	// Stdout takes the result of a command. Required.
	Stdout io.Writer

	// Stderr takes errors and hints. Required.
	Stderr io.Writer

	// Getenv returns an environment variable; GAIA_SOCKET, NO_COLOR and TERM
	// are read. Required.
	Getenv func(string) string

	// Version of this build, such as "v1.4.0"; "" lets the build info speak.
	Version string
}

// systemConfig is the config of a host that a package has installed.
const systemConfig = "/etc/gaia/config.hcl"

// Main runs the command that args give, without the program's name, and
// returns the exit code of the process: 0 when all went well, 1 after an error
// at run time, 2 for a command line that is wrong, 3 for a config that is, 130
// when ctx ended first. It blocks until the command has ended; `gaia run` and
// `gaia logs -f` do so when ctx ends.
func Main(ctx context.Context, args []string, env Env) int {
	c := &command{Env: env}
	root := c.root()
	root.SetArgs(doubleDashes(root, args))
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	return c.exit(ctx, root.ExecuteContext(ctx))
}

// command is one command line.
type command struct {
	Env

	configPath string
	socket     string // as given by a flag; "" when it was not
	json       bool
	progress   *progress.Line // of long work; nil where nobody watches
}

func (c *command) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "gaia",
		Short: "Run and use a host of crash-isolated plugins",
		Long: `gaia runs a host of crash-isolated plugins behind one gate of limits,
and talks to a host that runs.

Exit codes: 0 fine, 1 an error at run time, 2 a wrong command line, 3 a wrong
config, 130 interrupted.`,
		Example: `  gaia run -config config.hcl
  gaia call api_client_pool.Do url=http://localhost:8080/
  gaia status`,
		Args:          cobra.ArbitraryArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          unknownCommand,
	}
	root.PersistentFlags().StringVar(&c.configPath, "config", "config.hcl", "config `FILE` of the host; where it is not there, "+systemConfig)
	if !isFile(c.configPath) && isFile(systemConfig) { // a package was installed
		c.configPath = systemConfig
	}
	_ = root.MarkPersistentFlagFilename("config", "hcl") // the flag is there
	root.PersistentFlags().StringVar(&c.socket, "socket", "", "socket of the host, a `PATH`; default $GAIA_SOCKET, else what the config says")
	root.PersistentFlags().BoolVar(&c.json, "json", false, "print JSON")
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(
		c.runCommand(), c.validateCommand(), c.fmtCommand(),
		c.statusCommand(), c.topCommand(), c.callCommand(), c.logsCommand(), c.eventsCommand(),
		c.reloadCommand(), c.restartCommand(), c.swapCommand(),
		c.pluginCommand(), c.policyCommand(), c.sloCommand(), c.benchCommand(),
		c.versionCommand(), c.docsCommand(),
	)
	return root
}
