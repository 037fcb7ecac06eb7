package supervisor

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/gaia-go/gaia/host/internal/config"
	"github.com/gaia-go/gaia/host/internal/confine"
	"github.com/gaia-go/gaia/host/internal/keeper"
)

// Ties are what a host offers to a subsystem's processes and imposes on them.
// The zero value is nothing.
type Ties struct {
	Confiner *confine.Confiner // enforces limits.memory and the like; may be nil
	Store    *keeper.Store     // keeps descriptors and children for the next instance; may be nil

	left *groupsLeft // of the supervisor; nil where nothing is kept
}

// tied is what one instance is bound by.
type tied struct {
	group   *confine.Group // nil without a confiner
	store   *keeper.Store  // nil without a keeper
	session *keeper.Session
	serving errgroup.Group // the session
	left    *groupsLeft
}

// tie prepares what a process is to be bound by; its group gets the name. ctx
// lives longer than the process. The caller closes it, when the process has
// ended.
func (t Ties) tie(ctx context.Context, name string, limits confine.Limits) (*tied, error) {
	bound := &tied{store: t.Store, left: t.left}
	if t.Store != nil {
		session, err := t.Store.Open()
		if err != nil {
			return nil, err
		}
		bound.session = session
		bound.serving.Go(func() error { return session.Serve(ctx) })
	}
	if t.Confiner != nil {
		bound.group = t.Confiner.Group(name, limits)
	}
	return bound, nil
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
	var start func(*exec.Cmd) error
	if t.group != nil {
		start = t.group.Launch
	}
	if t.session != nil {
		return t.session.Launch(start)
	}
	return start
}

// firstFile is the descriptor of the first extra file in the process.
const firstFile = 3

// env is what the process's environment says of its extra files.
func (t *tied) env() []string {
	if t.session == nil {
		return nil
	}
	return t.session.Env(firstFile)
}

func (t *tied) files() []*os.File {
	if t.session == nil {
		return nil
	}
	return t.session.Files()
}

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

// close ends what is left of the process tree, but for what is kept, and
// releases what bound it. The group of kept processes goes to the groups that
// are left.
func (t *tied) close(logger hclog.Logger) (err error) {
	keeps := t.store != nil && t.store.Keeps()
	if t.group != nil && !keeps {
		t.group.Kill() // quicker than one by one
	}
	if t.session != nil {
		orphans, closing := t.session.Close()
		if orphans > 0 {
			logger.Warn("plugin left processes behind; they were killed", "processes", orphans)
		}
		err = errors.Join(closing, t.serving.Wait())
	}
	if t.group == nil {
		return err
	}
	closing := t.group.Close()
	if closing != nil && keeps && t.left != nil {
		t.left.add(t.group)
		return err
	}
	return errors.Join(err, closing)
}

// groupsLeft are groups in which kept processes live on. Safe for concurrent
// use.
type groupsLeft struct {
	mu     sync.Mutex
	groups []*confine.Group
}

func (l *groupsLeft) add(g *confine.Group) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.groups = append(l.groups, g)
}

// close kills who is left in them and removes them.
func (l *groupsLeft) close() (err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, g := range l.groups {
		g.Kill()
		err = errors.Join(err, g.Close())
	}
	l.groups = nil
	return err
}
