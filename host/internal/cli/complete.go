package cli

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
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

// completeCall completes subsystems, then methods, then the request's fields,
// then the values of those that have few, and files.
func (c *command) completeCall(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return c.completeField(cmd, args[0], word)
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

// completeField completes FIELD=, or VALUE behind it.
func (c *command) completeField(cmd *cobra.Command, target, word string) ([]string, cobra.ShellCompDirective) {
	path, value, hasValue := strings.Cut(word, "=")
	if !hasValue {
		return c.ask(cmd, word, func(ctx context.Context, h *host) []string { return fieldWords(ctx, h, target, word) }), goesOn
	}
	if file, ok := strings.CutPrefix(value, "@"); ok {
		return fileWords(path+"=@", file)
	}
	return c.ask(cmd, word, func(ctx context.Context, h *host) []string { return valueWords(ctx, h, target, path) }), noFiles
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

// fieldWords are the fields of the message that word is in; a message among
// them leads on to its own fields.
func fieldWords(ctx context.Context, h *host, target, word string) []string {
	var words []string
	fields := fieldsOf(ctx, h, target)
	for i, f := range fields {
		path, _, _ := strings.Cut(f.form, "=")
		path, isMap := strings.CutSuffix(path, "KEY")
		if strings.Count(strings.TrimSuffix(path, "."), ".") != strings.Count(word, ".") {
			continue // of another message
		}
		switch {
		case i+1 < len(fields) && strings.HasPrefix(fields[i+1].form, path+"."):
			path += "."
		case !isMap:
			path += "="
		}
		words = append(words, path+"\t"+registry.Sentence(f.comment))
	}
	return words
}

// valueWords are the values of an enum or a bool.
func valueWords(ctx context.Context, h *host, target, path string) []string {
	for _, f := range fieldsOf(ctx, h, target) {
		form, _, _ := strings.Cut(f.form, " ") // of a repeated field, the first
		name, values, _ := strings.Cut(form, "=")
		if all := strings.Split(values, "|"); name == path && f.fixed {
			for i, value := range all {
				all[i] = path + "=" + value
			}
			return all
		}
	}
	return nil
}

// fieldsOf are the fields that the method's request has; none if it is not
// known.
func fieldsOf(ctx context.Context, h *host, target string) []requestField {
	subsystem, name, _ := strings.Cut(target, ".")
	d, err := h.describe(ctx, subsystem)
	if err != nil {
		return nil
	}
	m, err := d.method(subsystem, name)
	if err != nil {
		return nil
	}
	return requestFields(m.Input())
}

// maxFileWords is more than anybody reads.
const maxFileWords = 1000

// fileWords are the files whose path begins so, behind prefix.
func fileWords(prefix, path string) ([]string, cobra.ShellCompDirective) {
	dir, name := filepath.Split(path)
	entries, err := os.ReadDir(cmp.Or(dir, "."))
	if err != nil {
		return nil, noFiles
	}
	var words []string
	goesOn := false
	for _, e := range entries {
		if len(words) == maxFileWords {
			break
		}
		if !strings.HasPrefix(e.Name(), name) || name == "" && strings.HasPrefix(e.Name(), ".") {
			continue
		}
		word := prefix + dir + e.Name()
		if e.IsDir() {
			word += "/"
			goesOn = true
		}
		words = append(words, word)
	}
	if goesOn {
		return words, noFiles | cobra.ShellCompDirectiveNoSpace
	}
	return words, noFiles
}
