package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// docsCommand writes what packages and docs/ have of the commands. It is hidden:
// its reader is the Makefile.
func (c *command) docsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:    "docs",
		Short:  "Write the man pages or the reference of the commands",
		Hidden: true,
		Args:   cobra.ArbitraryArgs,
		RunE:   unknownCommand,
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "man DIRECTORY",
		Short: "Write a man page for each command; their date is $SOURCE_DATE_EPOCH",
		Args:  takes(1, 1, "a DIRECTORY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cmd.Root().DisableAutoGenTag = true
			header := &doc.GenManHeader{Title: "GAIA", Section: "1", Source: "gaia " + c.version(), Manual: "gaia"}
			return doc.GenManTree(cmd.Root(), header, args[0])
		},
	}, &cobra.Command{
		Use:   "reference",
		Short: "Print docs/cli.md",
		Args:  takes(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := io.WriteString(c.Stdout, reference(cmd.Root()))
			return err
		},
	})
	return cmd
}

// reference is docs/cli.md: all commands on one page.
func reference(root *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Commands

<!-- Printed by gaia docs reference; make generate brings it up to date. -->

%s

Each command takes these flags; long ones with one dash or two:

%s
`, root.Long, fenced(root.PersistentFlags().FlagUsages()))
	for _, cmd := range root.Commands() {
		describeCommand(&b, cmd)
	}
	return b.String()
}

func describeCommand(b *strings.Builder, cmd *cobra.Command) {
	if !cmd.IsAvailableCommand() || cmd.Name() == "help" {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n%s.\n\n", cmd.CommandPath(), cmd.Short)
	if cmd.Runnable() {
		fmt.Fprintf(b, "%s\n", fenced(cmd.UseLine()+"\n"))
	}
	if cmd.Long != "" && cmd.Name() != "completion" && cmd.Parent().Name() != "completion" { // cobra's own words
		fmt.Fprintf(b, "\n%s\n", strings.NewReplacer("<", "\\<", "*", "\\*").Replace(cmd.Long))
	}
	if flags := cmd.LocalNonPersistentFlags(); flags.HasAvailableFlags() {
		fmt.Fprintf(b, "\n%s\n", fenced(flags.FlagUsages()))
	}
	if cmd.HasExample() {
		fmt.Fprintf(b, "\n%s\n", fenced(cmd.Example+"\n"))
	}
	for _, sub := range cmd.Commands() {
		describeCommand(b, sub)
	}
}

// fenced is text as a block of code, without the indentation that help has.
func fenced(text string) string {
	return "```\n" + strings.ReplaceAll("\n"+text, "\n  ", "\n")[1:] + "```"
}
