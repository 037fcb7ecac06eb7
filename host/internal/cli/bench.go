package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gaia-go/gaia/host/internal/bench"
	"github.com/gaia-go/gaia/host/internal/config"
	"github.com/gaia-go/gaia/host/internal/nearest"
	"github.com/gaia-go/gaia/host/internal/progress"
)

func (c *command) benchCommand() *cobra.Command {
	var o bench.Options
	cmd := &cobra.Command{
		Use:   "bench [NAME]",
		Short: "Measure what this host claims, beside a fair baseline",
		Long: `bench measures on this machine: our own and, in the same run, what one would use
without us. It runs hosts of its own with the plugins of the config's plugin_dir.
Without NAME it lists what can be measured. Compare the rows of one run with each
other; those of two machines, or of two days, say little.`,
		Example: `  gaia bench
  gaia bench restart
  gaia bench restart -n 20 --json
  gaia bench dispatch
  gaia bench dispatch --callers 64 --size 4096`,
		Args: takes(0, 1, ""),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, noFiles
			}
			return benchNames(), noFiles
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkBench(cmd, o); err != nil {
				return err
			}
			if len(args) == 0 {
				return c.benchList()
			}
			return c.bench(cmd, args[0], o)
		},
	}
	cmd.AddCommand(&cobra.Command{
		Use:    bench.PlainPlugin,
		Short:  "Be the plugin that dispatch compares with",
		Hidden: true,
		Args:   cobra.NoArgs,
		Run:    func(*cobra.Command, []string) { bench.ServePlain() },
	})
	flags := cmd.Flags()
	flags.IntVarP(&o.Rounds, "rounds", "n", 0, "measure each thing `NUMBER` times; 0 leaves it to the benchmark")
	flags.DurationVar(&o.Round, bench.FlagRound, 0, "measure it for this `DURATION` each time; 0 leaves it to the benchmark")
	flags.IntVar(&o.Callers, bench.FlagCallers, 0, "call from this `NUMBER` of goroutines at once; 0 is 1, 64 and 512 in turn")
	flags.IntVar(&o.Size, bench.FlagSize, 0, "send this `NUMBER` of bytes in each call; 0 is 64, and 4096, too")
	for _, name := range []string{"rounds", bench.FlagRound, bench.FlagCallers, bench.FlagSize} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions) // the flag is there
	}
	return cmd
}

// The bounds of what a benchmark may be asked for.
const (
	maxBenchCallers = 10_000
	maxBenchSize    = 1 << 20 // far below the largest message
)

func checkBench(cmd *cobra.Command, o bench.Options) error {
	switch {
	case o.Rounds < 0:
		return usageError(cmd, "-n %d is negative", o.Rounds)
	case o.Round < 0:
		return usageError(cmd, "--%s %v is negative", bench.FlagRound, o.Round)
	case o.Callers < 0 || o.Callers > maxBenchCallers:
		return usageError(cmd, "--%s %d is not from 0 to %d", bench.FlagCallers, o.Callers, maxBenchCallers)
	case o.Size < 0 || o.Size > maxBenchSize:
		return usageError(cmd, "--%s %d is not from 0 to %d", bench.FlagSize, o.Size, maxBenchSize)
	}
	return nil
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

func (c *command) bench(cmd *cobra.Command, name string, o bench.Options) error {
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
	for _, flag := range []string{bench.FlagRound, bench.FlagCallers, bench.FlagSize} {
		if cmd.Flags().Changed(flag) && !slices.Contains(all[i].Takes, flag) {
			return usageError(cmd, "gaia bench %s takes no --%s", name, flag)
		}
	}
	cfg, report := config.Load(c.configPath, nil)
	if report.HasErrors() {
		return c.refuseConfig(report)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	o.Gaia, o.PluginDir, o.Progress = self, cfg.Host.PluginDir, c.Stderr
	result, err := c.measure(cmd.Context(), all[i], o)
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(result)
	}
	return c.printBench(result)
}

// measure runs a benchmark and, at a terminal, says below what it says itself
// that it is still at work.
func (c *command) measure(ctx context.Context, b bench.Benchmark, o bench.Options) (*bench.Result, error) {
	if isTerminal(c.Stderr) {
		line := progress.Start(c.Stderr, "measuring")
		defer line.Stop()
		o.Progress = line.Above()
	}
	return b.Run(ctx, o)
}

func (c *command) printBench(r *bench.Result) error {
	var text strings.Builder
	for _, t := range r.Tables {
		if t.Title != "" {
			fmt.Fprintf(&text, "%s\n\n", t.Title)
		}
		head := []string{"WHAT"}
		for _, column := range t.Columns {
			head = append(head, column.Head)
		}
		rows := [][]string{head}
		for _, row := range t.Rows {
			cells := []string{row.What}
			for _, column := range t.Columns {
				cells = append(cells, benchCell(row, column))
			}
			rows = append(rows, cells)
		}
		if err := table(&text, rows); err != nil {
			return err
		}
		text.WriteByte('\n')
	}
	if r.Counted != nil {
		fmt.Fprintf(&text, "counted %d calls, %d in gaia_calls_total\n", r.Counted.Calls, r.Counted.Metric)
	}
	_, err := fmt.Fprintf(c.Stdout, "%s%s\n", &text, r.Machine)
	return err
}

func benchCell(row bench.Row, column bench.Column) string {
	figure, known := row.Figures[column.Name]
	if !known {
		return "-"
	}
	return strconv.FormatFloat(figure, 'f', column.Digits, 64) + column.Unit
}
