package supervisor

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	"github.com/gaia-go/gaia/host/internal/config"
	"github.com/gaia-go/gaia/host/internal/registry"
	"github.com/gaia-go/gaia/host/internal/telemetry"
)

// Meter counts what happens to the instances of one subsystem. Its methods do
// not block and are safe for concurrent use.
type Meter interface {
	Started(reason string) // one of telemetry.Start…
	Ready(generation uint64, took time.Duration)
	Exited(reason string) // one of telemetry.Exit…
	Held()
}

// Options are what a supervisor needs; all of it is required.
type Options struct {
	Subsystem   *config.Subsystem
	PluginDir   string
	SocketDir   string // as in wire.Command
	Env         []string
	Executables *Executables
	Logger      hclog.Logger
	Meter       Meter
	// Described is called with what an instance serves when that is news,
	// before its first call; one call at a time.
	Described func(d *registry.Description, sha256 string)
	// Changed is called after each change of Status. It does not block.
	Changed func(Status)
}

// Status is a subsystem's instance at one moment.
type Status struct {
	State         State
	Reason        string // one line; "" in state Ready
	PID           int    // 0 without a process
	Generation    uint64
	ReadySince    time.Time // zero unless Ready
	StartDuration time.Duration
	NextStart     time.Time // zero unless Backoff
	Version       string
	SHA256        string
	Restarts      uint64
}

// Supervisor keeps one subsystem's instance alive. One goroutine, Run's, owns
// the life; everybody else reads snapshots.
type Supervisor struct {
	options Options
	launch  launcher
	book    *Logbook
	current atomic.Pointer[snapshot]
	events  chan happening
	known   known // of the goroutine of the instance that is starting
}

// snapshot is what others see. It is never written after it is published.
type snapshot struct {
	Status

	instance *Instance     // nil unless Ready
	changed  chan struct{} // closed when another snapshot takes its place
}

// happening is an event with what the machine need not know of it.
type happening struct {
	event

	instance *Instance // of ready
	started  Status    // of ready: version, checksum, start time
	reason   string    // of exited and broken
}

// New returns a supervisor that does nothing until Run.
func New(o Options) *Supervisor {
	s := &Supervisor{
		options: o,
		launch: launcher{
			executables: o.Executables,
			path:        filepath.Join(o.PluginDir, o.Subsystem.Plugin),
			sha256:      o.Subsystem.SHA256,
			socketDir:   o.SocketDir,
			env:         o.Env,
		},
		book:   NewLogbook(),
		events: make(chan happening),
	}
	s.current.Store(&snapshot{Status: Status{State: Starting}, changed: make(chan struct{})}) // as Run will do at once
	return s
}

// Logbook is the log of all the subsystem's instances.
func (s *Supervisor) Logbook() *Logbook { return s.book }

// Status returns the present snapshot.
func (s *Supervisor) Status() Status { return s.current.Load().Status }

// Instance returns the ready instance, or nil.
func (s *Supervisor) Instance() *Instance { return s.current.Load().instance }

// Run keeps an instance alive until ctx ends, then drains and stops it, within
// about the sum of its grace times. It returns when everything it started has
// ended. It is called once.
func (s *Supervisor) Run(ctx context.Context) error {
	l := life{
		supervisor: s,
		machine: machine{
			state: Stopped,
			rules: rules{
				backoff:     s.options.Subsystem.Restart.Backoff,
				maxBackoff:  s.options.Subsystem.Restart.MaxBackoff,
				stableAfter: s.options.Subsystem.Restart.StableAfter,
			},
		},
		timer: time.NewTimer(0),
	}
	l.timer.Stop()
	defer l.timer.Stop()
	defer l.instances.Wait()
	l.handle(ctx, happening{event: event{kind: begin}})
	done := ctx.Done()
	for l.machine.state != Stopped {
		select {
		case h := <-s.events:
			l.handle(ctx, h)
		case <-l.timer.C:
			l.handle(ctx, happening{event: event{kind: timer, generation: l.timerGeneration}})
		case <-done:
			done = nil
			l.handle(ctx, happening{event: event{kind: stop, generation: l.machine.generation}, reason: "the host is stopping"})
		}
	}
	return nil
}

// life is the state of Run's loop, touched by no other goroutine.
type life struct {
	supervisor *Supervisor
	machine    machine
	status     Status
	instance   *Instance
	endCurrent context.CancelFunc // asks the current instance to end

	timer           *time.Timer
	timerGeneration uint64
	instances       sync.WaitGroup // goroutines of live
}

// handle moves the machine and does what it asks for.
func (l *life) handle(ctx context.Context, h happening) {
	if h.generation != l.machine.generation {
		return
	}
	h.at = time.Now()
	var actions []action
	l.machine, actions = l.machine.next(h.event)
	l.status.State, l.status.Generation = l.machine.state, l.machine.generation
	l.status.NextStart = time.Time{}
	switch h.kind {
	case ready:
		if l.machine.state != Ready {
			break // it became ready when it was already to end
		}
		l.status.Reason = ""
		l.status.PID, l.status.ReadySince = h.instance.PID(), h.at
		l.status.StartDuration, l.status.Version, l.status.SHA256 = h.started.StartDuration, h.started.Version, h.started.SHA256
		l.instance = h.instance
	case exited, broken:
		l.status.Reason = h.reason
		l.status.PID, l.status.ReadySince, l.instance = 0, time.Time{}, nil
	case stop:
		l.status.Reason = h.reason
	case begin, timer: // the reason is that of the exit before
	}
	for _, a := range actions {
		switch a.kind {
		case start:
			l.start(ctx)
		case wait:
			d := rand.N(max(a.wait, 1)) + 1 //nolint:gosec // G404: jitter, not a secret
			l.timer.Reset(d)
			l.timerGeneration = l.machine.generation
			l.status.NextStart = h.at.Add(d)
		case end:
			l.timer.Stop()
			l.endCurrent()
		}
	}
	l.publish()
}

// start begins the life of the machine's generation.
func (l *life) start(ctx context.Context) {
	generation := l.machine.generation
	meter := l.supervisor.options.Meter
	if generation == 1 {
		meter.Started(telemetry.StartFirst)
	} else {
		meter.Started(telemetry.StartRestart)
		l.status.Restarts++
	}
	// The host's end reaches the instance through the machine, which lets it
	// drain; so it must not reach it through ctx.
	lifeCtx, end := context.WithCancel(context.WithoutCancel(ctx))
	l.endCurrent = end
	l.instances.Go(func() {
		defer end()
		l.supervisor.live(lifeCtx, generation)
	})
}

func (l *life) publish() {
	s := l.supervisor
	next := &snapshot{Status: l.status, changed: make(chan struct{})}
	if l.machine.state == Ready {
		next.instance = l.instance
	}
	old := s.current.Swap(next)
	close(old.changed)
	s.options.Changed(next.Status)
}

// live is the whole life of one instance: start, serve, end. It reports to the
// loop and returns when nothing is left of it. The end of ctx asks it to end.
func (s *Supervisor) live(ctx context.Context, generation uint64) {
	logger := s.options.Logger.With("subsystem", s.options.Subsystem.Name, "generation", generation)
	out := newOutput(generation, s.book, logger)
	began := time.Now()
	i, started, err := s.start(ctx, generation, out)
	if err != nil {
		s.startFailed(ctx, generation, logger, err)
		return
	}
	started.StartDuration = time.Since(began)
	s.options.Meter.Ready(generation, started.StartDuration)
	s.events <- happening{event: event{kind: ready, generation: generation}, instance: i, started: started}
	// A log that blocks must not keep the loop from its work: first the event.
	logger.Info("plugin ready", "pid", i.PID(), "took", started.StartDuration.Round(100*time.Microsecond).String())
	asked := false
	watching, stopWatching := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { i.endWithConnection(watching, logger) })
	select {
	case <-i.Exited():
	case <-ctx.Done():
		asked = true
		// ctx has ended, which is why this one has not.
		i.stop(context.WithoutCancel(ctx))
	}
	stopWatching()
	watch.Wait()
	s.count(i, asked) // before the loop starts the next one, which counts, too
	i.awaitOutput(outputWait)
	s.events <- happening{event: event{kind: exited, generation: generation}, reason: printable(i.end())}
	err = i.close() // and so all of its output has been read
	report(i, asked, logger)
	if err != nil {
		logger.Error("plugin not released", "err", err)
	}
}

// start makes an instance that is ready for calls.
func (s *Supervisor) start(ctx context.Context, generation uint64, out *output) (*Instance, Status, error) {
	i, err := s.launch.launch(ctx, generation, out.line)
	if err != nil {
		return nil, Status{}, err
	}
	if err := s.prepare(ctx, i); err != nil {
		return nil, Status{}, errors.Join(err, i.close())
	}
	return i, Status{Version: s.known.description.Version, SHA256: i.executable.SHA256}, nil
}

// known is what the supervisor knows of an executable from its last instance.
// Asking again and decoding again would make up half of a restart.
type known struct {
	sha256      string
	description *registry.Description
	config      proto.Message // nil when the plugin takes none
}

// prepare learns what an instance serves, if that is news, and configures it.
func (s *Supervisor) prepare(ctx context.Context, i *Instance) error {
	subsystem := s.options.Subsystem
	// The checksum of a script says nothing of what it loads.
	if exe := i.executable; exe.SHA256 != s.known.sha256 || exe.Script {
		d, err := i.describe(ctx)
		if err != nil {
			return err
		}
		message, report := subsystem.DecodeConfig(d.ConfigMessage())
		if report.HasErrors() {
			return s.refused(report)
		}
		s.known = known{sha256: exe.SHA256, description: d, config: message}
		s.options.Described(d, exe.SHA256)
	}
	diagnostics, err := i.configure(ctx, subsystem.Name, s.known.config)
	if err != nil {
		return err
	}
	if report := subsystem.PluginDiagnostics(diagnostics); report.HasErrors() {
		return s.refused(report)
	}
	return nil
}

// refused logs all faults of a config with their lines, and returns the first.
func (s *Supervisor) refused(report *config.Report) error {
	var text strings.Builder
	if err := report.WriteText(&text, false); err == nil { // to memory
		s.options.Logger.Error("config refused", "subsystem", s.options.Subsystem.Name, "faults", text.String())
	}
	return unusableError{report.Err()}
}

// startFailed reports an instance that never became ready.
func (s *Supervisor) startFailed(ctx context.Context, generation uint64, logger hclog.Logger, err error) {
	h := happening{event: event{kind: exited, generation: generation}, reason: oneLine(err)}
	if errors.Is(err, ErrUnusable) {
		h.kind = broken
	}
	asked := ctx.Err() != nil
	if asked {
		s.options.Meter.Exited(telemetry.ExitStop)
	} else {
		s.options.Meter.Exited(telemetry.ExitStart)
	}
	s.events <- h
	if !asked {
		logger.Error("plugin did not start", "err", h.reason)
	}
}

// count counts the end of an instance that was ready.
func (s *Supervisor) count(i *Instance, asked bool) {
	switch {
	case asked:
		s.options.Meter.Exited(telemetry.ExitStop)
	case i.process.Exit().Signal != 0:
		s.options.Meter.Exited(telemetry.ExitSignal)
	default:
		s.options.Meter.Exited(telemetry.ExitSelf)
	}
}

// report logs the end of an instance that was ready.
func report(i *Instance, asked bool, logger hclog.Logger) {
	exit := i.Exit()
	if asked {
		logger.Info("plugin stopped", "pid", i.PID(), "exit", exit)
		return
	}
	args := []any{"pid", i.PID(), "exit", exit}
	if tail := i.process.Tail(); len(tail) > 0 {
		for n, line := range tail {
			tail[n] = printable(line)
		}
		args = append(args, "last_lines", strings.Join(tail, "\n"))
	}
	logger.Warn("plugin exited", args...)
}

// longestReason is the longest reason for a state, in bytes.
const longestReason = 500

// oneLine is an error for a status line: what a plugin may have put into it
// can neither break the line nor steer a terminal.
func oneLine(err error) string {
	line := printable(strings.Join(strings.Fields(err.Error()), " "))
	if len(line) > longestReason {
		line = strings.ToValidUTF8(line[:longestReason], "") + "…"
	}
	return line
}
