package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gaia-go/gaia/host/internal/app"
	"github.com/gaia-go/gaia/host/internal/trust"
)

func (c *command) pluginLockCommand() *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use:   "lock [FILE...]",
		Short: "Write down which plugins the host may run",
		Long: `lock writes gaia.lock.hcl beside the config: name, version and checksum of every
plugin that the config uses, and of each FILE of plugin_dir, which may then be swapped
in. From then on, gaia run, validate, reload and swap refuse a plugin whose file is
another one, or is not in it. A host that runs takes a new lock with gaia reload.
With --check it writes nothing, and fails when there would be something to write.`,
		Example: `  gaia plugin lock
  gaia plugin lock gaia-api-client-pool-v2
  gaia plugin lock --check`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: c.completePlugin,
	}
	cmd.Flags().BoolVar(&check, "check", false, "write nothing; fail when the file is out of date")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return c.pluginLock(cmd.Context(), check, args) }
	return cmd
}

func (c *command) pluginLock(ctx context.Context, check bool, further []string) error {
	old, oldErr := trust.ReadLock(trust.LockPath(c.configPath))
	if check && old != nil { // what somebody has added by name belongs in it
		for _, p := range old.Plugins {
			further = append(further, p.File)
		}
	}
	lock, report, err := app.LockPlugins(ctx, c.configPath, further)
	if err != nil {
		return failed("%v", err)
	}
	if report.HasErrors() {
		return c.refuseConfig(report)
	}
	text := lock.Text()
	if check {
		return c.checkLock(lock, old, oldErr)
	}
	if present, err := os.ReadFile(lock.Path); err != nil || !bytes.Equal(present, text) {
		if err := lock.Write(); err != nil {
			return failed("write %s: %v", lock.Path, err)
		}
	}
	return c.printLock(lock, old)
}

// checkLock fails when a lock file is not what it has to be.
func (c *command) checkLock(want, have *trust.Lock, err error) error {
	stale := failed("%s is out of date", want.Path).hint("gaia plugin lock writes it anew")
	stale.code = exitConfig
	switch {
	case err != nil:
		stale.notes = append(stale.notes, err.Error())
	case have == nil:
		stale.text = want.Path + " does not exist"
	default:
		stale.notes = lockChanges(want, have)
	}
	if err != nil || have == nil || len(stale.notes) > 0 {
		return stale
	}
	_, err = fmt.Fprintf(c.Stdout, "%s: up to date, %s\n", want.Path, plural(len(want.Plugins), "plugin"))
	return err
}

// printLock says what was written and what is new in it.
func (c *command) printLock(lock, old *trust.Lock) error {
	if c.json {
		return c.printJSON(lock.Plugins)
	}
	for _, change := range lockChanges(lock, old) {
		if _, err := io.WriteString(c.Stdout, oneLine(change)+"\n"); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(c.Stdout, "%s: %s\n", lock.Path, plural(len(lock.Plugins), "plugin"))
	return err
}

// lockChanges says in which plugins a lock differs from the one before, which may be nil.
func lockChanges(now, old *trust.Lock) (changes []string) {
	for _, p := range now.Plugins {
		before, ok := old.Find(p.File)
		switch {
		case !ok:
			changes = append(changes, fmt.Sprintf("%s: new, %s", p.File, shortPlugin(p)))
		case before != p:
			changes = append(changes, fmt.Sprintf("%s: %s, was %s", p.File, shortPlugin(p), shortPlugin(before)))
		}
	}
	if old == nil {
		return changes
	}
	for _, p := range old.Plugins {
		if _, ok := now.Find(p.File); !ok {
			changes = append(changes, p.File+": not in it any more")
		}
	}
	return changes
}

func shortPlugin(p trust.Plugin) string {
	return strings.TrimSpace(shortSum(p.SHA256) + " " + p.Version)
}
