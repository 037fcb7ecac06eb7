package confine

import (
	"os/exec"
	"slices"
	"strconv"
)

// throughShell makes a shell execute cmd after it has limited its own open
// files: a system without prlimit(2) has no better way to limit another process
// before its first instruction. The program is executed by its path, which also
// becomes its first argument.
func throughShell(cmd *exec.Cmd, openFiles int) {
	arguments := []string{"sh", "-c", `ulimit -n "$0" && exec "$@"`, strconv.Itoa(openFiles), cmd.Path}
	if len(cmd.Args) > 1 {
		arguments = slices.Concat(arguments, cmd.Args[1:])
	}
	cmd.Path, cmd.Args = "/bin/sh", arguments
}
