package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/gaia-go/gaia/host/internal/app"
	"github.com/gaia-go/gaia/host/internal/config"
)

// socketPath returns where the host listens: by flag, else by environment,
// else by the config file.
func (c *command) socketPath() (string, error) {
	if c.socket != "" {
		return c.socket, nil
	}
	if socket := c.Getenv("GAIA_SOCKET"); socket != "" {
		return socket, nil
	}
	if h, ok := config.LoadHost(c.configPath); ok {
		return shortPath(h.Socket), nil
	}
	_, report := config.Load(c.configPath, nil)
	return "", c.noSocket(report)
}

func (c *command) noSocket(report *config.Report) error {
	f := failed("where the host listens is not known: %v", report.Err())
	if _, err := os.Stat(c.configPath); errors.Is(err, fs.ErrNotExist) {
		f = failed("where the host listens is not known: there is no config %s", c.configPath)
	}
	f.code = exitConfig
	return f.hint("name the config with -config FILE, or the socket with --socket PATH or GAIA_SOCKET")
}

// shortPath writes a path below the working directory relative to it.
func shortPath(path string) string {
	dir, err := os.Getwd()
	if err != nil {
		return path
	}
	relative, err := filepath.Rel(dir, path)
	if err != nil || !filepath.IsLocal(relative) {
		return path
	}
	return relative
}

func (c *command) validateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "validate",
		Short: "Check a config file and print every fault",
		Long: `validate loads the config as gaia run does and starts nothing. A plugin
whose description is not known yet is started for it and ended again.`,
		Example:           `  gaia validate -config config.hcl`,
		Args:              takes(0, 0, ""),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return c.validate(cmd.Context()) },
	}
}

// validView is `validate --json`.
type validView struct {
	Config      string `json:"config"`
	Valid       bool   `json:"valid"`
	Subsystems  int    `json:"subsystems"`
	Diagnostics any    `json:"diagnostics"`
}

func (c *command) validate(ctx context.Context) error {
	cfg, report := app.Check(ctx, c.configPath)
	view := validView{Config: c.configPath, Valid: !report.HasErrors(), Diagnostics: report.JSON()}
	if cfg != nil {
		view.Subsystems = len(cfg.Subsystems)
	}
	switch {
	case c.json:
		if err := c.printJSON(view); err != nil {
			return err
		}
		if !view.Valid {
			return &failure{code: exitConfig}
		}
		return nil
	case !view.Valid:
		return c.refuseConfig(report)
	}
	if err := report.WriteText(c.Stderr, c.color(c.Stderr)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(c.Stdout, "%s: valid, %s\n", c.configPath, plural(view.Subsystems, "subsystem"))
	return err
}

// refuseConfig prints what is wrong and returns an error that only sets the
// exit code.
func (c *command) refuseConfig(report *config.Report) error {
	if err := report.WriteText(c.Stderr, c.color(c.Stderr)); err != nil {
		return err
	}
	return &failure{code: exitConfig}
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %s", n, noun+"s")
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
