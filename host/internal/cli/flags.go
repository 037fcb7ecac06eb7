package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gaia-go/gaia/host/internal/nearest"
)

// doubleDashes turns -config into --config, for each long flag that any
// command below root has: people write both. Short flags stay as they are.
func doubleDashes(root *cobra.Command, args []string) []string {
	long := map[string]bool{"help": true}
	var collect func(*cobra.Command)
	collect = func(cmd *cobra.Command) {
		for _, set := range []*pflag.FlagSet{cmd.PersistentFlags(), cmd.Flags()} {
			set.VisitAll(func(f *pflag.Flag) { long[f.Name] = true })
		}
		for _, sub := range cmd.Commands() {
			collect(sub)
		}
	}
	collect(root)

	doubled := slices.Clone(args)
	for i, arg := range doubled {
		if arg == "--" {
			break
		}
		name, isFlag := strings.CutPrefix(arg, "-")
		name, _, _ = strings.Cut(name, "=")
		if isFlag && long[name] {
			doubled[i] = "-" + arg
		}
	}
	return doubled
}

// flagError turns the complaint about a flag into a usage error.
func flagError(cmd *cobra.Command, err error) error {
	var (
		unknown *pflag.NotExistError
		invalid *pflag.InvalidValueError
	)
	switch {
	case errors.As(err, &unknown):
		return unknownFlag(cmd, unknown)
	case errors.As(err, &invalid):
		return usageError(cmd, "--%s %q is not %s", invalid.GetFlag().Name, invalid.GetValue(), flagKind(invalid.GetFlag()))
	default:
		return usageError(cmd, "%v", err)
	}
}

func unknownFlag(cmd *cobra.Command, unknown *pflag.NotExistError) error {
	name := unknown.GetSpecifiedName()
	if letters := unknown.GetSpecifiedShortnames(); letters != "" {
		name, _, _ = strings.Cut(letters, "=") // people write -config, too
	}
	problem := usageError(cmd, "%s has no flag -%s", cmd.CommandPath(), name)
	var names []string
	for _, set := range []*pflag.FlagSet{cmd.Flags(), cmd.InheritedFlags()} {
		set.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	}
	if best, ok := nearest.Name(name, names); ok {
		problem.hints = slices.Insert(problem.hints, 0, fmt.Sprintf("did you mean -%s?", best))
	}
	return problem
}

// flagKind says in words what a flag takes.
func flagKind(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "duration":
		return "a duration, such as 5s, 250ms or 1h30m"
	case "bool":
		return "true or false"
	default:
		return "a whole number from 0 to 4294967295"
	}
}

// unknownCommand runs when no sub-command of cmd was named.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usageError(cmd, "no command is given")
	}
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	problem := usageError(cmd, "%s has no command %q", cmd.CommandPath(), args[0])
	if best, ok := nearest.Name(args[0], names); ok {
		problem.hints = slices.Insert(problem.hints, 0, fmt.Sprintf("did you mean %q?", best))
	}
	return problem
}

// takes checks how many arguments a command has. What names them in the error.
func takes(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usageError(cmd, "%s wants %s", cmd.CommandPath(), what)
		case len(args) > most:
			return usageError(cmd, "%s takes no argument %q", cmd.CommandPath(), args[most])
		default:
			return nil
		}
	}
}
