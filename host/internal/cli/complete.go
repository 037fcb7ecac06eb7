package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"

	"github.com/gaia-go/gaia/host/internal/registry"
)

// patience is how long a shell's user waits for names.
const patience = 500 * time.Millisecond

const (
	noFiles = cobra.ShellCompDirectiveNoFileComp
	goesOn  = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
)

// ask calls the host, if one runs, and returns the answers that start with
// word. It gives up soon.
func (c *command) ask(cmd *cobra.Command, word string, question func(context.Context, *host) []string) []string {
	ctx, cancel := context.WithTimeout(cmd.Context(), patience)
	defer cancel()
	h, err := c.connect(ctx)
	if err != nil {
		return nil
	}
	defer h.Close()
	return slices.DeleteFunc(question(ctx, h), func(answer string) bool { return !strings.HasPrefix(answer, word) })
}

func subsystemNames(ctx context.Context, h *host) []string {
	reply, err := h.Status(ctx, &hostv1.StatusRequest{})
	if err != nil {
		return nil
	}
	var names []string
	for _, s := range reply.GetSubsystems() {
		names = append(names, s.GetName())
	}
	return names
}

func (c *command) completeSubsystem(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, noFiles
	}
	return c.ask(cmd, word, subsystemNames), noFiles
}

func (c *command) completePlugin(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, noFiles
	}
	return c.ask(cmd, word, func(ctx context.Context, h *host) []string {
		reply, err := h.ListPlugins(ctx, &hostv1.ListPluginsRequest{})
		if err != nil {
			return nil
		}
		names := subsystemNames(ctx, h)
		for _, p := range reply.GetPlugins() {
			names = append(names, p.GetFile())
		}
		return names
	}), noFiles
}

// completeCall completes subsystems, then methods, then the request's fields.
func (c *command) completeCall(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return c.ask(cmd, word, func(ctx context.Context, h *host) []string { return fieldWords(ctx, h, args[0]) }), goesOn
	}
	subsystem, _, hasMethod := strings.Cut(word, ".")
	if !hasMethod {
		names := c.ask(cmd, word, subsystemNames)
		for i := range names {
			names[i] += "."
		}
		return names, goesOn
	}
	return c.ask(cmd, word, func(ctx context.Context, h *host) []string { return methodWords(ctx, h, subsystem) }), noFiles
}

func methodWords(ctx context.Context, h *host, subsystem string) []string {
	d, err := h.describe(ctx, subsystem)
	if err != nil {
		return nil
	}
	var words []string
	for _, m := range d.Methods() {
		words = append(words, subsystem+"."+d.CallName(m)+"\t"+registry.Sentence(registry.Comment(m.Descriptor)))
	}
	return words
}

func fieldWords(ctx context.Context, h *host, target string) []string {
	subsystem, name, _ := strings.Cut(target, ".")
	d, err := h.describe(ctx, subsystem)
	if err != nil {
		return nil
	}
	m, err := d.method(subsystem, name)
	if err != nil {
		return nil
	}
	var words []string
	for _, f := range requestFields(m.Input()) {
		path, _, _ := strings.Cut(f.form, "=")
		if path, isMap := strings.CutSuffix(path, "KEY"); isMap {
			words = append(words, path+"\t"+registry.Sentence(f.comment))
			continue
		}
		words = append(words, path+"=\t"+registry.Sentence(f.comment))
	}
	return words
}
