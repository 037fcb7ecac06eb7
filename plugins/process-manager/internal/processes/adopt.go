package processes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/life"
	"github.com/gaia-go/gaia/plugins/process-manager/internal/logs"
	"github.com/gaia-go/gaia/plugins/process-manager/internal/spawn"
	"github.com/gaia-go/gaia/plugins/process-manager/internal/tree"
	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"github.com/gaia-go/gaia/sdk"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// openForest finds the groups of an earlier instance by the identity that it has
// kept, or takes one of its own.
func (m *Manager) openForest(entries []sdk.KeptEntry) error {
	var identity string
	var alive []string
	for _, e := range entries {
		if name, ok := strings.CutPrefix(e.Name, keptProcess); ok && len(e.Files) > 0 {
			alive = append(alive, name)
		}
		if e.Name == keptForest {
			identity = string(e.Data)
		}
	}
	if identity == "" {
		var err error
		if identity, err = filepath.Abs(m.settings.Load().logDir); err != nil {
			return err
		}
		if err := m.keeper.seen(sdk.Keep(keptForest, []byte(identity))); err != nil {
			return err
		}
	}
	var err error
	if m.lock, err = lockDir(identity); err != nil {
		return sdk.Invalid("log_dir", "%v. Each process manager needs one of its own.", err)
	}
	forest, err := tree.Open(identity, alive...)
	if err != nil {
		sdk.Logger().Warn("groups of earlier processes are left", "err", err)
	}
	m.forest = forest
	return nil
}

// lockTime is how long a predecessor may take to end: a killed one has the lock
// until the kernel has closed its files.
const lockTime = 2 * time.Second

// lockDir makes a directory, if there is none, and locks it until it is closed:
// two managers that are known by the same would kill each other's processes.
func lockDir(path string) (*os.File, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	dir, err := os.Open(path) //nolint:gosec // G304: the operator's
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(lockTime / 200)
	defer tick.Stop()
	for end := time.Now().Add(lockTime); ; <-tick.C {
		err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return dir, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(end) {
			return nil, errors.Join(fmt.Errorf("%s is in use elsewhere (%w)", path, err), dir.Close())
		}
	}
}

// adopt goes on with the processes of an earlier instance.
func (m *Manager) adopt() error {
	entries, err := sdk.Kept()
	if err := m.keeper.seen(err); err != nil {
		return err
	}
	if err := m.openForest(entries); err != nil {
		return err
	}
	inputs := make(map[string]*os.File)
	for _, e := range entries {
		if name, ok := strings.CutPrefix(e.Name, keptInput); ok && len(e.Files) == 1 {
			inputs[name] = e.Files[0]
		}
	}
	for _, e := range entries {
		name, ok := strings.CutPrefix(e.Name, keptProcess)
		if !ok {
			continue
		}
		if err := m.adoptProcess(name, e, inputs[name]); err != nil {
			sdk.Logger().Error("process not adopted; it is ended", "process", name, "err", err)
			_ = e.Close() // nothing was written
			if err := m.forgetKept(name); err != nil {
				return err
			}
			continue
		}
		delete(inputs, name)
	}
	for name, input := range inputs { // of processes that never came to run
		if err := errors.Join(input.Close(), sdk.Forget(keptInput+name)); err != nil {
			return err
		}
	}
	return nil
}

func (m *Manager) adoptProcess(name string, e sdk.KeptEntry, input *os.File) error {
	var s state
	if err := json.Unmarshal(e.Data, &s); err != nil {
		return fmt.Errorf("its state: %w", err)
	}
	request := &processv1.StartRequest{}
	if err := proto.Unmarshal(s.Request, request); err != nil {
		return fmt.Errorf("its request: %w", err)
	}
	plan, err := planOf(request)
	if err != nil {
		return fmt.Errorf("its request: %w", err)
	}
	p := m.newProcess(request, plan)
	p.machine, p.logDir = s.Machine, s.LogDir
	p.kept = kept{data: e.Data, files: len(e.Files) > 0, input: input != nil}
	if err := p.adoptParts(s, e, input); err != nil {
		return errors.Join(err, p.release())
	}
	m.mu.Lock()
	m.processes[name] = p
	m.mu.Unlock()
	p.begin(life.Event{Kind: life.Adopt})
	return nil
}

// adoptParts opens what the process needs in its state.
func (p *process) adoptParts(s state, e sdk.KeptEntry, input *os.File) error {
	if err := p.openLog(); err != nil {
		return err
	}
	if s.Machine.State.Ended() {
		p.rest() // what is kept can be read
		return nil
	}
	if !s.Machine.Alive {
		return nil
	}
	return p.adoptChild(s, e, input)
}

// adoptChild makes of what was kept a child again.
func (p *process) adoptChild(s state, e sdk.KeptEntry, input *os.File) error {
	if n := len(e.Files); n != 2 && n != 4 {
		return fmt.Errorf("%d files are kept, want a pidfd, what it writes to and perhaps a buffer", n)
	}
	group, err := p.manager.forest.Adopt(p.name)
	if err != nil {
		return err
	}
	c := &child{
		generation: s.Machine.Generation, pid: s.Pid, pidfd: e.Files[0], group: group,
		adopted: true, logStart: s.LogStart,
		wait: func(ctx context.Context) (spawn.Exit, time.Time, error) { return awaitKept(ctx, e.Name, e.Files[0]) },
	}
	c.output = e.Files[1]
	if len(e.Files) == 4 {
		c.buffer = logs.Buffer{Reader: e.Files[2], Writer: e.Files[3]}
	}
	if p.plan.tty {
		if c.terminal, err = duplicate(c.output); err != nil {
			return err
		}
		c.input = newInput(c.terminal)
	}
	if input != nil {
		c.input = newInput(input)
	}
	p.child = c
	p.manager.metrics.adopted.Inc()
	return nil
}

// awaitKept waits for a process that is not a child of this instance. It may have
// ended while there was none. An answer may fail, as for want of descriptors, while it
// runs; so that counts only when the process had ended before the question.
func awaitKept(ctx context.Context, name string, pidfd *os.File) (spawn.Exit, time.Time, error) {
	again := time.NewTicker(awaitAgain)
	defer again.Stop()
	for {
		ended := spawn.HasEnded(pidfd)
		status, err := sdk.AwaitExit(ctx, name)
		switch {
		case err == nil:
			return spawn.Exit{Code: status.Code, Signal: status.Signal, CoreDump: status.CoreDump}, status.At, nil
		case ended:
			return spawn.Exit{}, time.Now(), err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return spawn.Exit{}, time.Now(), ctx.Err()
		}
	}
}

// awaitAgain is the time between two questions of which the first has failed.
const awaitAgain = 100 * time.Millisecond
