package allow

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"github.com/gaia-go/gaia/sdk"
)

// command is a command{} block with its defaults filled in.
type command struct {
	name          string
	path          string
	args          []pattern
	firstArgs     []string
	env           map[string]string
	callerEnv     names
	hostEnv       names
	dir           string
	callerDirs    []string
	user          string
	callerUsers   []string
	limits        Limits
	newPrivileges bool
	read, write   []string
}

// pattern is a regular expression that has to match a whole argument.
type pattern struct {
	*regexp.Regexp

	text string // as the operator wrote it
}

// names are names of variables; one that ends with "*" stands for all that begin
// so.
type names []string

func (n names) match(name string) bool {
	return slices.ContainsFunc(n, func(allowed string) bool {
		prefix, isPrefix := strings.CutSuffix(allowed, "*")
		return allowed == name || isPrefix && strings.HasPrefix(name, prefix)
	})
}

// NewList reads command{} blocks and the proxy that their processes are told of;
// environ is the environment of this process. The error joins an sdk.FieldError
// for each fault.
func NewList(config *processv1.Config, environ []string) (*List, error) {
	blocks := config.GetCommand()
	proxy, err := proxyVariables(config.GetProxy())
	faults := []error{err}
	l := &List{commands: make(map[string]*command, len(blocks)), environ: environ, proxy: proxy}
	for _, name := range slices.Sorted(maps.Keys(blocks)) {
		c, err := newCommand(name, blocks[name])
		faults = append(faults, err)
		l.commands[name] = c
	}
	return l, errors.Join(faults...)
}

func newCommand(name string, block *processv1.Command) (*command, error) {
	c := &command{
		name:          name,
		path:          block.GetPath(),
		firstArgs:     block.GetFirstArgs(),
		env:           block.GetEnv(),
		callerEnv:     block.GetCallerEnv(),
		hostEnv:       block.GetHostEnv(),
		dir:           filepath.Clean("/" + block.GetDir()),
		user:          block.GetUser(),
		callerUsers:   block.GetCallerUsers(),
		newPrivileges: block.GetNewPrivileges(),
		read:          block.GetRead(),
		write:         block.GetWrite(),
		limits: Limits{
			Memory:    block.GetLimits().GetMemory(),
			CPU:       block.GetLimits().GetCpu(),
			Processes: block.GetLimits().GetProcesses(),
			OpenFiles: block.GetLimits().GetOpenFiles(),
		},
	}
	if len(c.hostEnv) == 0 {
		c.hostEnv = names{"PATH", "LANG", "TZ"}
	}
	f := faults{block: fmt.Sprintf("command[%q]", name)}
	f.absolute("path", block.GetPath())
	if block.GetDir() != "" {
		f.absolute("dir", block.GetDir())
	}
	for i, text := range block.GetArgs() {
		c.args = append(c.args, f.pattern(i, text))
	}
	for i, dir := range block.GetCallerDirs() {
		f.absolute(fmt.Sprintf("caller_dirs[%d]", i), dir)
		c.callerDirs = append(c.callerDirs, filepath.Clean(dir))
	}
	f.paths("read", c.read)
	f.paths("write", c.write)
	f.variables(c.env)
	if field, problem := impossible(c.limits.Memory, c.limits.CPU, c.limits.Processes); field != "" {
		f.add("limits."+field, "%s.", problem)
	}
	return c, errors.Join(f.all...)
}

// faults collects those of one block.
type faults struct {
	block string
	all   []error
}

func (f *faults) add(field, format string, args ...any) {
	f.all = append(f.all, sdk.Invalid(f.block+"."+field, format, args...))
}

func (f *faults) absolute(field, path string) {
	if !filepath.IsAbs(path) || strings.ContainsRune(path, 0) {
		f.add(field, "%q is not an absolute path; write it from / on.", path)
	}
}

func (f *faults) paths(field string, paths []string) {
	for i, path := range paths {
		f.absolute(fmt.Sprintf("%s[%d]", field, i), path)
	}
}

func (f *faults) pattern(i int, text string) pattern {
	if _, err := regexp.Compile(text); err != nil { // by itself: a stray ")" must not close what is put around it
		f.add(fmt.Sprintf("args[%d]", i), "%q is not a regular expression (RE2): %v.", text, err)
		return pattern{text: text}
	}
	return pattern{regexp.MustCompile(`\A(?:` + text + `)\z`), text}
}

func (f *faults) variables(env map[string]string) {
	for name, value := range env {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) {
			f.add(fmt.Sprintf("env[%q]", name), "A name of a variable has no \"=\", and neither name nor value has a NUL byte.")
		}
	}
}
