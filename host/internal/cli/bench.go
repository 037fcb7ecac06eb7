package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/gaia-go/gaia/host/internal/bench"
	"github.com/gaia-go/gaia/host/internal/config"
	"github.com/gaia-go/gaia/host/internal/nearest"
)

func (c *command) benchCommand() *cobra.Command {
	var rounds int
	cmd := &cobra.Command{
		Use:   "bench [NAME]",
		Short: "Measure what this host claims, beside a fair baseline",
		Long: `bench measures on this machine: our own and, in the same run, what one would
use without us. It runs a host of its own with the plugins of the config's
plugin_dir. Without NAME it lists what can be measured. Compare the rows of one run
with each other; those of two machines, or of two days, say little.`,
		Example: `  gaia bench
  gaia bench restart
  gaia bench restart -n 20 --json`,
		Args: takes(0, 1, ""),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return benchNames(), noFiles
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case rounds < 0:
				return usageError(cmd, "-n %d is negative", rounds)
			case len(args) == 0:
				return c.benchList()
			}
			return c.bench(cmd.Context(), args[0], rounds)
		},
	}
	cmd.Flags().IntVarP(&rounds, "rounds", "n", 0, "measure each thing `NUMBER` times; 0 leaves it to the benchmark")
	return cmd
}

func benchNames() []string {
	var names []string
	for _, b := range bench.All() {
		names = append(names, b.Name)
	}
	return names
}

func (c *command) benchList() error {
	rows := [][]string{{"NAME", "WHAT IT MEASURES"}}
	for _, b := range bench.All() {
		rows = append(rows, []string{b.Name, b.Doc})
	}
	return table(c.Stdout, rows)
}

func (c *command) bench(ctx context.Context, name string, rounds int) error {
	all := bench.All()
	i := slices.IndexFunc(all, func(b bench.Benchmark) bool { return b.Name == name })
	if i < 0 {
		problem := failed("no benchmark %q", name)
		problem.code = exitUsage
		if best, ok := nearest.Name(name, benchNames()); ok {
			return problem.hint("did you mean %s?", best)
		}
		return problem.hint("gaia bench lists them")
	}
	cfg, report := config.Load(c.configPath, nil)
	if report.HasErrors() {
		return c.refuseConfig(report)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	result, err := all[i].Run(ctx, bench.Options{Gaia: self, PluginDir: cfg.Host.PluginDir, Rounds: rounds, Progress: c.Stderr})
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(result)
	}
	return c.printBench(result)
}

func (c *command) printBench(r *bench.Result) error {
	rows := [][]string{{"WHAT", "ROUNDS", "P50", "P99", "MAX"}}
	for _, m := range r.Measured {
		rows = append(rows, []string{m.What, strconv.Itoa(m.Rounds), inMillis(m.P50), inMillis(m.P99), inMillis(m.Max)})
	}
	if err := table(c.Stdout, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(c.Stdout, "\n%s\n", r.Machine)
	return err
}

func inMillis(ms float64) string { return strconv.FormatFloat(ms, 'f', 2, 64) + "ms" }
