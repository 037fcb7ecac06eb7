// Package allow says who may start what: it makes of a caller's Spec and the
// operator's command{} blocks what is to be started, or says which rule forbids
// it. What is not written in a command{} block cannot be started.
package allow

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Command is what is to be started. All of it is allowed.
type Command struct {
	Name          string // of the command{} block
	Path          string
	Args          []string // without the path
	Env           []string // "NAME=value", sorted
	Dir           string
	User          string // empty for the plugin's own
	Limits        Limits
	NewPrivileges bool
	Read, Write   []string
}

// Limits of a process tree; zero is none.
type Limits struct {
	Memory    uint64
	CPU       float64
	Processes uint32
	OpenFiles uint32
}

// List is the command{} blocks of a configuration. It is never written to.
type List struct {
	commands map[string]*command
	environ  []string // of this process
	proxy    []variable
}

// Check returns what a spec asks for. An error has the code PermissionDenied, and
// names the command and the rule, or InvalidArgument. It never has the value of
// an environment variable.
func (l *List) Check(spec *processv1.Spec) (Command, error) {
	name := spec.GetCommand()
	if name == "" {
		return Command{}, status.Error(codes.InvalidArgument, "spec.command: want the name of a command{} block")
	}
	c, ok := l.commands[name]
	if !ok {
		return Command{}, l.unknown(name)
	}
	checked := Command{
		Name:          name,
		Path:          c.path,
		Args:          slices.Concat(c.firstArgs, spec.GetArgs()),
		NewPrivileges: c.newPrivileges,
		Read:          c.read,
		Write:         c.write,
	}
	var err error
	for _, check := range []func() error{
		func() error { return c.checkArgs(spec.GetArgs()) },
		func() error { checked.Env, err = c.environment(l.environ, l.proxy, spec.GetEnv()); return err },
		func() error { checked.Dir, err = c.chooseDir(spec.GetDir()); return err },
		func() error { checked.User, err = c.chooseUser(spec.GetUser()); return err },
		func() error { checked.Limits, err = c.chooseLimits(spec.GetLimits()); return err },
	} {
		if err := check(); err != nil {
			return Command{}, err
		}
	}
	return checked, nil
}

// maxListed bounds how many names an error lists.
const maxListed = 20

func (l *List) unknown(name string) error {
	names := slices.Sorted(maps.Keys(l.commands))
	if len(names) == 0 {
		return status.Errorf(codes.PermissionDenied, "command %q is not allowed: the configuration has no command{} block", name)
	}
	if len(names) > maxListed {
		names = append(names[:maxListed], "…")
	}
	return status.Errorf(codes.PermissionDenied, "command %q is not allowed; allowed are %s", name, strings.Join(names, ", "))
}

// denied is the error about a rule of a command{} block.
func (c *command) denied(rule, format string, args ...any) error {
	return status.Errorf(codes.PermissionDenied, "command %q: %s (rule %s)", c.name, fmt.Sprintf(format, args...), rule)
}
