package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/gaia-go/gaia/host/internal/config"
)

// fmtOptions are the flags of `gaia fmt`.
type fmtOptions struct {
	check bool
	diff  bool
}

func (c *command) fmtCommand() *cobra.Command {
	var o fmtOptions
	cmd := &cobra.Command{
		Use:   "fmt [FILE...]",
		Short: "Rewrite config files in the usual layout",
		Long: `fmt rewrites each FILE in place and prints the names of those that changed.
Without FILE it takes the config; - formats standard input to standard output.`,
		Example: `  gaia fmt
  gaia fmt --check config.hcl
  gaia fmt --diff config.hcl
  gaia fmt - < config.hcl`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{c.configPath}
			}
			if len(args) > 1 && slices.Contains(args, "-") {
				return usageError(cmd, "- stands for standard input and goes without other files")
			}
			return c.format(cmd.Context(), args, o)
		},
	}
	cmd.Flags().BoolVar(&o.check, "check", false, "change nothing; exit with 3 when a file would change")
	cmd.Flags().BoolVar(&o.diff, "diff", false, "change nothing; print what would change")
	return cmd
}

// formatted is a file before and after.
type formatted struct {
	name          string
	before, after []byte
}

func (f formatted) changed() bool { return !bytes.Equal(f.before, f.after) }

// format reads all files before it writes one: with a fault in any, all stay
// as they are.
func (c *command) format(ctx context.Context, names []string, o fmtOptions) error {
	var files []formatted
	var faults config.Report
	for _, name := range names {
		before, err := c.readSource(ctx, name)
		if err != nil {
			return err
		}
		if name == "-" {
			name = "<stdin>"
		}
		after, report := config.Format(before, name)
		faults.Add(report)
		files = append(files, formatted{name, before, after})
	}
	if faults.HasErrors() {
		return c.refuseConfig(&faults)
	}
	if names[0] == "-" && !o.check && !o.diff {
		_, err := c.Stdout.Write(files[0].after)
		return err
	}
	return c.writeFormatted(files, o)
}

func (c *command) readSource(ctx context.Context, name string) ([]byte, error) {
	if name == "-" {
		in := c.stdin(ctx)
		defer in.Close() //nolint:errcheck // returns none
		return io.ReadAll(in)
	}
	return os.ReadFile(name) //nolint:gosec // the user names the file
}

func (c *command) writeFormatted(files []formatted, o fmtOptions) error {
	changed := []string{}
	for _, f := range files {
		if !f.changed() {
			continue
		}
		changed = append(changed, f.name)
		if err := c.writeOne(f, o); err != nil {
			return err
		}
	}
	if c.json {
		if err := c.printJSON(map[string][]string{"changed": changed}); err != nil {
			return err
		}
	}
	if o.check && len(changed) > 0 {
		return &failure{code: exitConfig}
	}
	return nil
}

func (c *command) writeOne(f formatted, o fmtOptions) error {
	if !o.check && !o.diff {
		if err := replaceFile(f.name, f.after); err != nil {
			return err
		}
	}
	switch {
	case c.json:
		return nil
	case o.diff:
		_, err := c.Stdout.Write(diff.Diff(f.name, f.before, f.name+" (formatted)", f.after))
		return err
	default:
		_, err := fmt.Fprintln(c.Stdout, f.name)
		return err
	}
}

// replaceFile gives the file new content, all of it or none, and keeps its
// mode. A symbolic link stays one.
func replaceFile(name string, content []byte) (err error) {
	path, err := filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = tmp.Close()
			_ = os.Remove(tmp.Name())
		}
	}()
	if err := tmp.Chmod(info.Mode().Perm()); err != nil {
		return err
	}
	if _, err := tmp.Write(content); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
