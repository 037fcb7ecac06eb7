package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gaia-go/gaia/host/internal/config"
	"github.com/gaia-go/gaia/host/internal/registry"
	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
)

func (c *command) pluginCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plugin",
		Short: "Show, write and test plugins",
		Example: `  gaia plugin list
  gaia plugin new word-counter
  gaia plugin info gaia-api-client-pool`,
		Args: cobra.ArbitraryArgs,
		RunE: unknownCommand,
	}
	cmd.AddCommand(&cobra.Command{
		Use:               "list",
		Short:             "List the files in the plugin directory",
		Example:           `  gaia plugin list`,
		Args:              takes(0, 0, ""),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return c.pluginList(cmd.Context()) },
	}, &cobra.Command{
		Use:   "info NAME",
		Short: "Show what a plugin serves and how it is configured",
		Long: `info shows the services of a plugin and an example of its config block.
NAME is a subsystem, or a file in the plugin directory.`,
		Example: `  gaia plugin info api_client_pool
  gaia plugin info gaia-api-client-pool --json`,
		Args:              takes(1, 1, "the NAME of a subsystem or plugin"),
		ValidArgsFunction: c.completePlugin,
		RunE:              func(cmd *cobra.Command, args []string) error { return c.pluginInfo(cmd.Context(), args[0]) },
	}, c.pluginNewCommand(), c.pluginGenerateCommand(), c.pluginTestCommand(), c.pluginAttachCommand(),
		c.pluginLockCommand(), c.pluginKeygenCommand(), c.pluginSignCommand())
	return cmd
}

func (c *command) pluginList(ctx context.Context) error {
	h, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer h.Close()
	reply, err := h.ListPlugins(ctx, &hostv1.ListPluginsRequest{})
	if err != nil {
		return err
	}
	if c.json {
		return c.printReply(reply)
	}
	rows := [][]string{{"PLUGIN", "VERSION", "SIZE", "SHA256", "SUBSYSTEMS", "FAULT"}}
	for _, p := range reply.GetPlugins() {
		rows = append(rows, []string{
			p.GetFile(), orDash(p.GetVersion()), fileSize(p.GetSize()), orDash(shortSum(p.GetSha256())),
			orDash(strings.Join(p.GetSubsystems(), ",")), orDash(p.GetFault()),
		})
	}
	return table(c.Stdout, rows)
}

// fileSize rounds to a unit that people compare by.
func fileSize(size int64) string {
	if size < 1<<20 {
		return config.Bytes(max(size, 0)).String()
	}
	return fmt.Sprintf("%.1fMiB", float64(size)/(1<<20))
}

// shortSum is enough of a checksum to tell two files apart.
func shortSum(sum string) string {
	return sum[:min(len(sum), 12)]
}

func (c *command) pluginInfo(ctx context.Context, name string) error {
	h, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer h.Close()
	d, err := h.describe(ctx, name)
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(newPluginView(d))
	}
	_, err = io.WriteString(c.Stdout, printable(pluginText(d)))
	return err
}

func pluginText(d *described) string {
	var b strings.Builder
	fmt.Fprintln(&b, strings.TrimSpace(d.Name+" "+d.Version))
	fmt.Fprintf(&b, "file    %s\nsha256  %s\n", d.file, d.sha256)
	var service protoreflect.FullName
	for _, m := range d.Methods() {
		parent := m.Descriptor.Parent()
		if parent.FullName() != service {
			service = parent.FullName()
			fmt.Fprintf(&b, "\nservice %s\n%s", service, paragraph(registry.Comment(parent), "    "))
		}
		fmt.Fprintf(&b, "\n  %s\n%s", signature(m.Descriptor), paragraph(registry.Comment(m.Descriptor), "      "))
	}
	if md := d.ConfigMessage(); md != nil {
		fmt.Fprintf(&b, "\n%s", configForm(md))
	}
	return b.String()
}

func paragraph(text, indent string) string {
	if text == "" {
		return ""
	}
	return indented(text, indent) + "\n"
}

// pluginView is `plugin info --json`.
type pluginView struct {
	File     string       `json:"file"`
	Name     string       `json:"name"`
	Version  string       `json:"version"`
	SHA256   string       `json:"sha256"`
	Services []string     `json:"services"`
	Methods  []methodView `json:"methods"`
	Config   string       `json:"config"` // an example in HCL; "" when the plugin takes none
}

type methodView struct {
	Service  string `json:"service"`
	Name     string `json:"name"`
	Kind     string `json:"kind"`
	Request  string `json:"request"`
	Response string `json:"response"`
	Comment  string `json:"comment"`
}

func newPluginView(d *described) pluginView {
	view := pluginView{
		File: d.file, Name: d.Name, Version: d.Version, SHA256: d.sha256,
		Services: d.Services, Methods: methodViews(d),
	}
	if md := d.ConfigMessage(); md != nil {
		view.Config = configForm(md)
	}
	return view
}

func methodViews(d *described) []methodView {
	views := make([]methodView, 0, len(d.Methods()))
	for _, m := range d.Methods() {
		views = append(views, methodView{
			Service:  string(m.Descriptor.Parent().FullName()),
			Name:     string(m.Descriptor.Name()),
			Kind:     m.Kind(),
			Request:  string(m.Descriptor.Input().FullName()),
			Response: string(m.Descriptor.Output().FullName()),
			Comment:  registry.Comment(m.Descriptor),
		})
	}
	return views
}
