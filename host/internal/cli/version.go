package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func (c *command) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "version",
		Short:             "Show the version of gaia",
		Example:           `  gaia version --json`,
		Args:              takes(0, 0, ""),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			v := versionView{c.version(), runtime.Version(), runtime.GOOS, runtime.GOARCH}
			if c.json {
				return c.printJSON(v)
			}
			_, err := fmt.Fprintf(c.Stdout, "gaia %s %s %s/%s\n", v.Version, v.Go, v.OS, v.Arch)
			return err
		},
	}
}

type versionView struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// version is what the linker was told, or else what the toolchain recorded.
func (c *command) version() string {
	if c.Version != "" {
		return c.Version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
