package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
	"github.com/gaia-go/gaia/sdk/link"
	"github.com/gaia-go/gaia/sdk/wire"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/gaia-go/gaia/host/internal/config"
	"github.com/gaia-go/gaia/host/internal/confine"
	"github.com/gaia-go/gaia/host/internal/registry"
)

const (
	// readyTimeout bounds Describe, and Configure.
	readyTimeout = 10 * time.Second
	// attachedReadyTimeout does so when somebody debugs them.
	attachedReadyTimeout = 10 * time.Minute
	// cutGrace is how long a drain may take when the time for calls in flight
	// has run out.
	cutGrace = time.Second
	// announceTimeout is how long a plugin may take to hear of its drain.
	announceTimeout = 500 * time.Millisecond
	// outputWait is how long the last words of a dead process may hold up what
	// comes next.
	outputWait = 5 * time.Millisecond
	// lingerTime is how long a process may live without its connection, or its
	// link; those of a process that dies end some milliseconds before it.
	lingerTime = 500 * time.Millisecond
)

// process is a wire.Process, or a wire.Attached.
type process interface {
	Conn() *grpc.ClientConn
	LinkSocket() net.Conn
	PID() int
	Exited() <-chan struct{}
	Drained() <-chan struct{}
	Exit() wire.Exit
	Tail() []string
	LastWords() string
	Terminate()
	Signal(s syscall.Signal)
	Kill()
	Close() error
}

// Instance is one running process of a subsystem, ready for calls. Safe for
// concurrent use.
type Instance struct {
	*grpc.ClientConn

	link        *link.Conn // nil: the plugin takes calls by gRPC only
	process     process
	attached    bool // to a process that somebody else has started
	generation  uint64
	executable  *Executable
	description *registry.Description
	config      atomic.Pointer[proto.Message] // that it has; it holds nil when the plugin takes none
	tied        *tied
	logger      hclog.Logger
	calls       *wire.Door // of those that have the instance
}

// enter counts a call in, or reports false when the instance takes no more.
func (i *Instance) enter() bool { return !i.hasExited() && i.calls.Enter() }

// Release says that a call which Acquire lent the instance to is over. It is
// called once for each Acquire.
func (i *Instance) Release() { i.calls.Leave() }

// Link is for unary calls to the plugin's own services; nil if it takes them by
// gRPC only.
func (i *Instance) Link() *link.Conn { return i.link }

// openLink lets calls go over the link, if the plugin says that it has one.
func (i *Instance) openLink(ctx context.Context) {
	if !i.description.Link || i.attached {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	l, err := link.Open(ctx, i.process.LinkSocket())
	if err != nil {
		i.logger.Warn("calls go over gRPC: the plugin's link does not answer", "pid", i.PID(), "err", err)
		return
	}
	i.link = l
}

// Transport is what unary calls go over.
func (i *Instance) Transport() string {
	if i.link != nil && i.link.Usable() {
		return "link"
	}
	return "grpc"
}

// Generation is the serial number of the instance within its subsystem.
func (i *Instance) Generation() uint64 { return i.generation }

// PID is the process id.
func (i *Instance) PID() int { return i.process.PID() }

// Exited is closed when the process has ended.
func (i *Instance) Exited() <-chan struct{} { return i.process.Exited() }

// Exit says in words how the process ended. Valid after Exited is closed.
func (i *Instance) Exit() string { return i.process.Exit().String() }

// awaitOutput waits until what a dead process wrote has been read, but not for
// somebody else who holds its pipes.
func (i *Instance) awaitOutput(limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-i.process.Drained():
	case <-timer.C:
	}
}

// end is Exit with the process's last words, which are often the cause. Valid
// after Exited is closed.
func (i *Instance) end() string {
	exit, last := i.process.Exit(), i.process.LastWords()
	if exit.Signal != 0 || last == "" {
		return exit.String()
	}
	return fmt.Sprintf("%v; its last line: %.200q", exit, last)
}

func (i *Instance) hasExited() bool {
	select {
	case <-i.process.Exited():
		return true
	default:
		return false
	}
}

// close kills the process, if it still runs, and releases all it had.
func (i *Instance) close() error {
	err := errors.Join(i.process.Close(), i.tied.close(i.logger), i.executable.Close())
	if i.link != nil {
		err = errors.Join(err, i.link.Close())
	}
	return err
}

// launcher starts processes of one executable.
type launcher struct {
	executables *Executables
	path        string
	sha256      string // wanted; "" means any
	socketDir   string
	env         []string
	timeout     time.Duration
	ties        Ties
	group       string         // name of the group that limits the process
	limits      confine.Limits // of its process tree
	logger      hclog.Logger
}

// launch opens and executes the plugin and shakes hands with it.
func (l launcher) launch(ctx context.Context, out func(int, []byte)) (i *Instance, err error) {
	exe, err := l.executables.Open(l.path, l.sha256)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, exe.Close())
		}
	}()
	if err := makePrivate(l.socketDir); err != nil { // cleaners of /tmp remove it after some days
		return nil, err
	}
	// The session ends with the process, which ctx may not outlive.
	t, err := l.ties.tie(context.WithoutCancel(ctx), l.group, l.limits)
	if err != nil {
		return nil, err
	}
	process, err := wire.Start(ctx, wire.Command{
		Path:         exe.Path,
		File:         exe.File,
		Env:          append(t.env(), l.env...),
		SocketDir:    l.socketDir,
		Output:       out,
		StartTimeout: l.timeout,
		ExtraFiles:   t.files(),
		Launch:       t.launch(),
	})
	if err != nil {
		if errors.Is(err, syscall.ENOEXEC) || errors.Is(err, os.ErrPermission) {
			err = unusableError{err}
		}
		return nil, errors.Join(err, t.close(l.logger))
	}
	t.warn(l.logger)
	return &Instance{ClientConn: process.Conn(), process: process, executable: exe, tied: t, logger: l.logger, calls: wire.NewDoor()}, nil
}

// readyTimeout bounds Describe, and Configure: a debugger may have stopped them.
func (i *Instance) readyTimeout() time.Duration {
	if i.attached {
		return attachedReadyTimeout
	}
	return readyTimeout
}

// describe asks what the instance serves.
func (i *Instance) describe(ctx context.Context) (*registry.Description, error) {
	ctx, cancel := context.WithTimeout(ctx, i.readyTimeout())
	defer cancel()
	description, err := registry.Describe(ctx, i)
	if err != nil {
		return nil, i.explain(err)
	}
	return description, nil
}

// explain prefers the process's own end over what it did to a call.
func (i *Instance) explain(err error) error {
	if status.Code(err) != codes.Unavailable {
		return err
	}
	timer := time.NewTimer(10 * time.Millisecond) // the socket ends before the process is seen to
	defer timer.Stop()
	select {
	case <-i.Exited():
		i.awaitOutput(outputWait)
		return &wire.StartError{Reason: i.Exit(), Tail: i.process.Tail(), Err: err}
	case <-timer.C:
		return err
	}
}

// configure hands over the config. A refusal is diagnostics, not an error.
func (i *Instance) configure(ctx context.Context, subsystem *config.Subsystem, message proto.Message) ([]*pluginv1.Diagnostic, error) {
	ctx, cancel := context.WithTimeout(ctx, i.readyTimeout())
	defer cancel()
	var body []byte
	if message != nil {
		var err error
		if body, err = proto.Marshal(message); err != nil {
			return nil, fmt.Errorf("internal: marshal config: %w", err)
		}
	}
	response, err := pluginv1.NewPluginClient(i).Configure(ctx, &pluginv1.ConfigureRequest{
		Config:    body,
		Subsystem: subsystem.Name,
		Places:    subsystem.ConfigPlaces(message),
	})
	if status.Code(err) == codes.Unimplemented {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("configure: %w", i.explain(err))
	}
	return response.GetDiagnostics(), nil
}

// lostConnection waits until the process has closed its connection and lives on,
// which is no good: nobody can reach it any more. It says so in words, or
// returns "" when the process or ctx ends.
func (i *Instance) lostConnection(ctx context.Context, logger hclog.Logger) string {
	for i.GetState() == connectivity.Ready {
		if !i.WaitForStateChange(ctx, connectivity.Ready) {
			return ""
		}
	}
	if !i.lingers(ctx) {
		return ""
	}
	logger.Error("plugin has closed its connection and lives on; it is killed", "pid", i.PID())
	return "it closed its connection and lived on"
}

// lostLink is lostConnection for the link. Calls could go over gRPC, but an end of
// the link that breaks off has broken the protocol, or was sent what breaks it.
func (i *Instance) lostLink(ctx context.Context, logger hclog.Logger) string {
	if i.link == nil {
		return ""
	}
	select {
	case <-i.link.Done():
	case <-ctx.Done():
		return ""
	}
	if !i.lingers(ctx) {
		return ""
	}
	err := i.link.Err()
	logger.Error("plugin's link has ended and the plugin lives on; it is killed", "pid", i.PID(), "err", err)
	return "its link ended and it lived on: " + oneLine(err)
}

// lingers reports whether the process lives on for a while, though all it could
// be reached by has ended.
func (i *Instance) lingers(ctx context.Context) bool {
	timer := time.NewTimer(lingerTime)
	defer timer.Stop()
	select {
	case <-i.Exited():
		return false
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// stop lets calls in flight end, asks the process to end, and kills it if it
// does not. Nobody is lent the instance any more. ctx cuts the patience short.
func (i *Instance) stop(ctx context.Context, drain, grace time.Duration) {
	i.drain(ctx, drain)
	i.process.Terminate()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-i.Exited():
	case <-ctx.Done():
	case <-timer.C:
	}
	i.process.Kill()
	<-i.Exited()
}

// announceDrain tells the plugin that its drain is near, so that calls end which
// would not by themselves. One that does not know of it answers Unimplemented.
func (i *Instance) announceDrain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, announceTimeout)
	defer cancel()
	// Whatever it answers, calls are waited for next.
	_, _ = pluginv1.NewPluginClient(i).AnnounceDrain(ctx, &pluginv1.AnnounceDrainRequest{})
}

// drain waits until the calls that have the instance are over, and then for
// what the plugin itself has to finish. The plugin is asked last: it refuses
// new calls from then on, and some may be on their way to it.
func (i *Instance) drain(ctx context.Context, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	i.announceDrain(ctx)
	grace := limit
	select {
	case <-i.calls.Shut():
	case <-i.Exited(): // and so the calls have left, or are about to
	case <-ctx.Done():
		if i.calls.Inside() > 0 {
			grace = min(limit, cutGrace)
		}
	}
	drainCtx, cancelDrain := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancelDrain()
	// Whatever it answers, the process is told to end next.
	_, _ = pluginv1.NewPluginClient(i).Drain(drainCtx, &pluginv1.DrainRequest{Grace: durationpb.New(grace)})
}

// Environment is what plugins inherit of the host's environment: where
// programs, certificates and scratch space are, and which language and time
// zone people use. Secrets stay behind; config.hcl hands over what a plugin
// needs.
func Environment(logLevel string) []string {
	env := []string{wire.EnvLogLevel + "=" + logLevel}
	for _, entry := range os.Environ() {
		key, _, _ := strings.Cut(entry, "=")
		switch key {
		case "PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "XDG_RUNTIME_DIR":
			env = append(env, entry)
		default:
			if strings.HasPrefix(key, "LC_") {
				env = append(env, entry)
			}
		}
	}
	return env
}

// Probe starts the executable at path once, asks what it serves, and ends it.
func Probe(ctx context.Context, executables *Executables, path, sha256, socketDir string, ties Ties) (*registry.Description, error) {
	l := launcher{
		executables: executables, path: path, sha256: sha256, socketDir: socketDir, env: Environment("error"),
		ties: ties, group: "probe-" + filepath.Base(path), logger: hclog.NewNullLogger(),
	}
	instance, err := l.launch(ctx, func(int, []byte) {})
	if err != nil {
		return nil, err
	}
	description, err := instance.describe(ctx)
	return description, errors.Join(err, instance.close())
}
