// Package processes starts, supervises and ends processes and keeps what they
// write: it is the service gaia.process.v1.ProcessManager.
//
// A supervised process is a `process`: one goroutine owns it and lets a
// life.Machine decide; everybody else sends it events and reads snapshots. What
// runs is a `child`. What the next instance of the plugin has to know and to hold
// is with the host's keeper, see keep.go: this instance may be killed at any
// moment.
package processes

import (
	"context"
	"errors"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/allow"
	"github.com/gaia-go/gaia/plugins/process-manager/internal/life"
	"github.com/gaia-go/gaia/plugins/process-manager/internal/tree"
	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"github.com/gaia-go/gaia/sdk"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Manager is the service. It is safe for concurrent use.
type Manager struct {
	processv1.UnimplementedProcessManagerServer

	metrics  *metrics
	keeper   keeper
	settings atomic.Pointer[settings]
	runs     atomic.Int64  // calls of Run under way
	groups   pool          // for Run
	starting chan struct{} // has room for those who start a process
	settled  *time.Timer   // fires when no process was started for a while
	probes   *http.Client
	hub      hub

	forest *tree.Forest   // set by the first Configure, before any call
	lock   *os.File       // of the directory that the forest is known by
	work   sync.WaitGroup // goroutines of the processes

	mu        sync.Mutex
	processes map[string]*process
	reserved  int // of max_processes, by calls of Restart
	closed    bool
}

// maxStarting bounds how many processes are started at once: the kernel does no
// more of them in a second when more are under way.
const maxStarting = 4

// settleTime is how long nothing has to be started until the memory is given back
// that starts have needed. The garbage collector would let it be for two minutes:
// it is more than what 200 processes take that just run.
const settleTime = time.Second

// New returns a manager that may start nothing. The caller closes it.
func New() *Manager {
	m := &Manager{
		starting:  make(chan struct{}, maxStarting),
		processes: make(map[string]*process),
		probes:    newProbeClient(),
	}
	m.settled = time.AfterFunc(settleTime, debug.FreeOSMemory)
	m.metrics = newMetrics(m)
	return m
}

// Exclusive says that there is one instance at a time: two would both wait for
// the same processes and write the same logs.
func (m *Manager) Exclusive() bool { return true }

// Limits leave time for calls that wait for a process: Run, Wait and Stop.
func (m *Manager) Limits() sdk.Limits { return sdk.Limits{Timeout: time.Hour} }

// Configure takes the commands that may be started, and then the processes that
// an earlier instance has started.
func (m *Manager) Configure(ctx context.Context, config *processv1.Config) error {
	if err := m.Reconfigure(ctx, config); err != nil || m.forest != nil {
		return err
	}
	return m.adopt()
}

// Reconfigure takes other commands and bounds. What runs goes on as it was
// started; when it is started again, it goes by what is in force then.
func (m *Manager) Reconfigure(_ context.Context, config *processv1.Config) error {
	fresh, err := settingsFrom(config, os.Environ())
	if err != nil {
		return err
	}
	m.settings.Store(fresh)
	return nil
}

// Metrics are the manager's own, listed in the plugin's README.
func (m *Manager) Metrics() prometheus.Gatherer { return m.metrics.registry }

// Shutdown lets go of all processes. Those that the host keeps run on, for the next
// instance or until the host ends them; where there is no keeper, they are killed.
func (m *Manager) Shutdown(context.Context) error {
	m.settled.Stop()
	m.mu.Lock()
	m.closed = true
	all := make([]*process, 0, len(m.processes))
	for _, p := range m.processes {
		all = append(all, p)
	}
	m.mu.Unlock()
	for _, p := range all {
		p.end()
	}
	m.work.Wait() // from here on nobody starts what is killed again
	var faults []error
	if !m.keeper.works() {
		faults = killAll(all)
	}
	for _, p := range all {
		faults = append(faults, p.release())
	}
	faults = append(faults, m.groups.close())
	if m.lock != nil {
		faults = append(faults, m.lock.Close())
	}
	return errors.Join(faults...)
}

// find returns a process by name.
func (m *Manager) find(name string) (*process, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.processes[name]; p != nil {
		return p, nil
	}
	return nil, status.Errorf(codes.NotFound, "no process %q", name)
}

// all are the processes, sorted by name.
func (m *Manager) all() []*process {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]*process, 0, len(m.processes))
	for _, p := range m.processes {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *process) int { return strings.Compare(a.name, b.name) })
	return all
}

// maxNames bounds how many processes are known, those included that have ended:
// the keeper has room for 4096 names.
const maxNames = 4000

// enter adds p under its name, in the place of one that has ended, which is
// returned: it is the caller's then, to be released before p begins.
func (m *Manager) enter(p *process) (old *process, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old = m.processes[p.name]
	running, limit := m.running(), m.settings.Load().maxProcesses
	switch {
	case m.closed:
		return nil, errClosed()
	case old != nil && old.removing:
		return nil, status.Errorf(codes.Aborted, "process %q is being removed or replaced by another call", p.name)
	case old != nil && !old.snapshot().State.Ended():
		return nil, status.Errorf(codes.AlreadyExists, "process %q is %v; stop it first, or use Restart", p.name, old.snapshot().State)
	case running >= limit:
		return nil, tooMany(running, limit)
	case old == nil && len(m.processes) >= maxNames:
		return nil, status.Errorf(codes.ResourceExhausted, "%d processes are known, limit %d; remove those that have ended", len(m.processes), maxNames)
	case old != nil && !old.retire():
		return nil, status.Errorf(codes.AlreadyExists, "process %q was just started again by another call", p.name)
	}
	m.processes[p.name] = p
	return old, nil
}

// running counts the processes that are supervised, or are about to be. The caller
// holds mu.
func (m *Manager) running() int {
	running := m.reserved
	for _, p := range m.processes {
		if !p.snapshot().State.Ended() {
			running++
		}
	}
	return running
}

// leave marks a process that has ended as being removed, so that nobody else
// removes, replaces or restarts it.
func (m *Manager) leave(p *process) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	state := p.snapshot().State
	switch {
	case m.processes[p.name] != p || p.removing:
		return status.Errorf(codes.NotFound, "no process %q", p.name)
	case !state.Ended():
		return status.Errorf(codes.FailedPrecondition, "process %q is %v; stop it first", p.name, state)
	case !p.retire():
		return status.Errorf(codes.FailedPrecondition, "process %q was just started again by another call", p.name)
	}
	p.removing = true
	return nil
}

// forget takes a process off the list.
func (m *Manager) forget(p *process) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.processes[p.name] == p {
		delete(m.processes, p.name)
	}
}

// check returns what a spec asks for, if it is allowed now.
func (m *Manager) check(spec *processv1.Spec) (allow.Command, error) {
	return m.settings.Load().commands.Check(spec)
}

func (m *Manager) isClosed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed
}

func errClosed() error {
	return status.Error(codes.Unavailable, "the process manager is closed")
}

// states counts the processes by state, for metrics.
func (m *Manager) states() map[life.State]int {
	counts := make(map[life.State]int)
	for _, p := range m.all() {
		counts[p.snapshot().State]++
	}
	return counts
}
