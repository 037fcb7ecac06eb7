package allow

import (
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func invalid(format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, format, args...)
}

// checkArgs wants each argument to match a pattern.
func (c *command) checkArgs(args []string) error {
	for i, arg := range args {
		if strings.ContainsRune(arg, 0) {
			return invalid("spec.args[%d] has a NUL byte", i)
		}
		if slices.ContainsFunc(c.args, func(p pattern) bool { return p.MatchString(arg) }) {
			continue
		}
		if len(c.args) == 0 {
			return c.denied("args", "takes no arguments of the caller, got %s", shown(arg))
		}
		return c.denied("args", "argument %d, %s, matches none of the patterns %s", i, shown(arg), patterns(c.args))
	}
	return nil
}

// shown is text in an error: as much as helps.
func shown(text string) string {
	if len(text) > 100 {
		return fmt.Sprintf("%q… (%d bytes)", strings.ToValidUTF8(text[:100], ""), len(text))
	}
	return fmt.Sprintf("%q", text)
}

func patterns(all []pattern) string {
	texts := make([]string, len(all))
	for i, p := range all {
		texts[i] = fmt.Sprintf("%q", p.text)
	}
	return list(texts)
}

func list(texts []string) string {
	if len(texts) == 0 {
		return "none"
	}
	if len(texts) > maxListed {
		texts = append(slices.Clone(texts[:maxListed]), "…")
	}
	return strings.Join(texts, ", ")
}

// environment is what the host, the operator and the caller set; who comes later
// wins.
func (c *command) environment(host []string, proxy []variable, caller map[string]string) ([]string, error) {
	env := make(map[string]string, len(c.env)+len(caller)+3)
	for _, entry := range host {
		if name, value, _ := strings.Cut(entry, "="); c.hostEnv.match(name) && !isOurs(name) {
			env[name] = value
		}
	}
	addProxy(env, proxy, c.env, caller)
	maps.Copy(env, c.env)
	for name, value := range caller {
		switch {
		case name == "" || strings.ContainsAny(name, "=\x00"):
			return nil, invalid("spec.env: %q is no name of a variable", name)
		case strings.ContainsRune(value, 0):
			return nil, invalid("spec.env[%q]: the value has a NUL byte", name)
		case !c.callerEnv.match(name):
			return nil, c.denied("caller_env", "the caller may not set %s; it may set %s", shown(name), list(c.callerEnv))
		}
		env[name] = value
	}
	entries := make([]string, 0, len(env))
	for name, value := range env {
		entries = append(entries, name+"="+value)
	}
	slices.Sort(entries)
	return entries, nil
}

// isOurs reports whether a variable is between the host and its plugins.
func isOurs(name string) bool {
	return strings.HasPrefix(name, "GAIA_") || strings.HasPrefix(name, "PLUGIN_")
}

// chooseDir returns the caller's directory, if it may have that, or the
// command's. Symbolic links are followed before: what one is changed to between
// this and the start is not seen.
func (c *command) chooseDir(dir string) (string, error) {
	if dir == "" || dir == c.dir {
		return c.dir, nil
	}
	if !filepath.IsAbs(dir) || strings.ContainsRune(dir, 0) {
		return "", invalid("spec.dir: %s is not an absolute path", shown(dir))
	}
	followed, err := filepath.EvalSymlinks(dir)
	if err != nil {
		followed = filepath.Clean(dir) // the start says what is wrong with it
	}
	for _, allowed := range c.callerDirs {
		if isBelow(allowed, filepath.Clean(dir)) && (isBelow(allowed, followed) || isBelow(evaluated(allowed), followed)) {
			return dir, nil
		}
	}
	return "", c.denied("caller_dirs", "the directory %s is not %q and not below one of %s", shown(dir), c.dir, list(c.callerDirs))
}

func evaluated(path string) string {
	if followed, err := filepath.EvalSymlinks(path); err == nil {
		return followed
	}
	return path
}

func isBelow(parent, path string) bool {
	return path == parent || strings.HasPrefix(path, strings.TrimSuffix(parent, "/")+"/")
}

func (c *command) chooseUser(user string) (string, error) {
	if user == "" || user == c.user || slices.Contains(c.callerUsers, user) {
		if user == "" {
			user = c.user
		}
		return user, nil
	}
	return "", c.denied("caller_users", "the caller may not choose the user %s; it may choose %s", shown(user), list(c.callerUsers))
}

const (
	leastMemory   = 1 << 20 // with which a small program starts
	mostProcesses = 1 << 22 // that Linux has (PID_MAX_LIMIT)
	mostCPU       = 1 << 13 // that Linux has (NR_CPUS)
)

// impossible returns the limit that nothing could run with, or the kernel does not
// know, and what is wrong with it; else "".
func impossible(memory uint64, cpu float64, processes uint32) (field, problem string) {
	switch {
	case memory > 0 && memory < leastMemory:
		return "memory", fmt.Sprintf("%d bytes; nothing starts with less than %d", memory, leastMemory)
	case cpu < 0 || math.IsNaN(cpu) || cpu > mostCPU:
		return "cpu", fmt.Sprintf("%v is no number of cores, of which Linux has at most %d", cpu, mostCPU)
	case processes > mostProcesses:
		return "processes", fmt.Sprintf("%d; Linux has at most %d", processes, mostProcesses)
	}
	return "", ""
}

// chooseLimits are the caller's where it sets any, which have to be below the
// command's.
func (c *command) chooseLimits(asked *processv1.Limits) (Limits, error) {
	cpu := asked.GetCpu()
	if field, problem := impossible(asked.GetMemory(), cpu, asked.GetProcesses()); field != "" {
		return Limits{}, invalid("spec.limits.%s: %s", field, problem)
	}
	limits := c.limits
	for _, l := range []struct {
		name           string
		asked, ceiling float64
		take           func()
	}{
		{"memory", float64(asked.GetMemory()), float64(c.limits.Memory), func() { limits.Memory = asked.GetMemory() }},
		{"cpu", cpu, c.limits.CPU, func() { limits.CPU = cpu }},
		{"processes", float64(asked.GetProcesses()), float64(c.limits.Processes), func() { limits.Processes = asked.GetProcesses() }},
		{"open_files", float64(asked.GetOpenFiles()), float64(c.limits.OpenFiles), func() { limits.OpenFiles = asked.GetOpenFiles() }},
	} {
		if l.asked == 0 {
			continue
		}
		if l.ceiling > 0 && l.asked > l.ceiling {
			return Limits{}, c.denied("limits."+l.name, "%s of %v is over the ceiling, %v", l.name, l.asked, l.ceiling)
		}
		l.take()
	}
	return limits, nil
}
