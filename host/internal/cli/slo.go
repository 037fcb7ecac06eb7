package cli

import (
	"github.com/spf13/cobra"

	"github.com/gaia-go/gaia/host/internal/app"
	"github.com/gaia-go/gaia/host/internal/config"
	"github.com/gaia-go/gaia/host/internal/telemetry"
)

func (c *command) sloCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "slo",
		Short:   "Print Prometheus rules for the objectives of the config",
		Example: `  gaia slo rules > gaia.rules.yml`,
		Args:    cobra.ArbitraryArgs,
		RunE:    unknownCommand,
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "rules",
		Short: "Print recording and alerting rules for Prometheus",
		Long: `rules prints a rule file for Prometheus: for each slo block of the config the
burn rate of its error budget over several windows, and alerts on it. It reads the
config and needs no host that runs.`,
		Example: `  gaia slo rules > gaia.rules.yml
  promtool check rules gaia.rules.yml`,
		Args:              takes(0, 0, ""),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(*cobra.Command, []string) error { return c.sloRules() },
	})
	return cmd
}

func (c *command) sloRules() error {
	cfg, report := config.Load(c.configPath, nil)
	if report.HasErrors() {
		return c.refuseConfig(report)
	}
	var objectives []telemetry.NamedObjectives
	for i := range cfg.Subsystems {
		s := &cfg.Subsystems[i]
		objectives = append(objectives, telemetry.NamedObjectives{Subsystem: s.Name, Objectives: app.Objectives(s)})
	}
	_, err := c.Stdout.Write(telemetry.Rules(objectives))
	return err
}
