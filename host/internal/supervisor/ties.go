package supervisor

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/gaia-go/gaia/host/internal/config"
	"github.com/gaia-go/gaia/host/internal/confine"
)

// Ties are what a host offers to a subsystem's processes and imposes on them.
// The zero value is nothing.
type Ties struct {
	Confiner *confine.Confiner // enforces limits.memory and the like; may be nil
}

// tied is what one instance is bound by.
type tied struct {
	group *confine.Group // nil without a confiner
}

// tie prepares what an instance is to be bound by. The caller closes it, when
// the process has ended.
func (t Ties) tie(s *config.Subsystem, generation uint64) *tied {
	bound := &tied{}
	if t.Confiner != nil {
		bound.group = t.Confiner.Group(fmt.Sprintf("%s-%d", s.Name, generation), limitsOf(s))
	}
	return bound
}

func limitsOf(s *config.Subsystem) confine.Limits {
	return confine.Limits{
		Memory:    uint64(s.Limits.Memory),
		CPU:       s.Limits.CPU,
		Processes: s.Limits.Processes,
		OpenFiles: s.Limits.OpenFiles,
	}
}

// launch is wire.Command.Launch.
func (t *tied) launch() func(*exec.Cmd) error {
	if t.group == nil {
		return nil
	}
	return t.group.Launch
}

func (t *tied) env() []string     { return nil }
func (t *tied) files() []*os.File { return nil }

// confinement says in words what limits the process; "" for nothing.
func (t *tied) confinement() string {
	if t.group == nil {
		return ""
	}
	return t.group.Mechanism()
}

// warn logs which limits do not hold as they were meant to.
func (t *tied) warn(logger hclog.Logger) {
	if t.group == nil {
		return
	}
	if w := t.group.Warnings(); len(w) > 0 {
		logger.Warn("not all limits can be enforced", "warnings", strings.Join(w, "; "))
	}
}

// update puts other limits into force for a process that runs.
func (t *tied) update(s *config.Subsystem) error {
	if t.group == nil {
		return nil
	}
	return t.group.Update(limitsOf(s))
}

// oomKills is how many processes of the tree the kernel has killed for their
// memory.
func (t *tied) oomKills() uint64 {
	if t.group == nil {
		return 0
	}
	return t.group.OOMKills()
}

// close ends what is left of the process tree and releases what bound it.
func (t *tied) close() error {
	if t.group == nil {
		return nil
	}
	t.group.Kill()
	return t.group.Close()
}
