package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/gaia-go/gaia/sdk/internal/peercred"
)

// AttachEnv is the environment in which a plugin has to be started, besides its usual one,
// that the host with a process id is to attach to. The plugin makes its socket in socketDir.
func AttachEnv(hostPID int, socketDir, logLevel string) []string {
	return []string{
		cookieKey + "=" + cookieValue,
		"PLUGIN_PROTOCOL_VERSIONS=" + strconv.Itoa(protocolVersion),
		"PLUGIN_UNIX_SOCKET_DIR=" + socketDir,
		EnvHostPID + "=" + strconv.Itoa(hostPID),
		EnvLogLevel + "=" + logLevel,
	}
}

// ParseHandshake returns the path of the socket in a handshake line. It reports false for
// another line. The error is about a handshake that no host can use.
func ParseHandshake(line string) (socket string, ok bool, err error) {
	parts := strings.Split(strings.TrimSpace(line), "|")
	if len(parts) < 4 || parts[0] != strconv.Itoa(plugin.CoreProtocolVersion) {
		return "", false, nil
	}
	switch version, network, path := parts[1], parts[2], parts[3]; {
	case version != strconv.Itoa(protocolVersion):
		return "", true, fmt.Errorf("the plugin speaks version %s of the contract, want %d", version, protocolVersion)
	case network != "unix" || !filepath.IsAbs(path):
		return "", true, fmt.Errorf("the plugin listens on %s %s, want a unix socket with an absolute path", network, path)
	case len(parts) < 5 || parts[4] != string(plugin.ProtocolGRPC):
		return "", true, errors.New("the plugin does not speak gRPC")
	default:
		return path, true, nil
	}
}

// Attached is a plugin that somebody else has started. Its methods are those of
// Process, and safe for concurrent use.
type Attached struct {
	client *plugin.Client
	conn   *grpc.ClientConn
	pid    atomic.Int64 // of who listens, as the kernel tells
	asked  atomic.Bool  // to end, see Terminate
	began  time.Time
	tail   tail

	detachOnce sync.Once
	unwatch    context.CancelFunc
	exited     chan struct{} // closed when the plugin is not to be reached any more, or was let go
	exit       Exit          // valid when exited is closed
	watched    sync.WaitGroup

	closeOnce sync.Once
	closeErr  error
}

// Attach connects to the plugin that listens on a unix socket, which a process of this user
// has to do. Each line that it writes goes to output. ctx bounds Attach only. The caller closes
// what it returns.
func Attach(ctx context.Context, socket string, output func(pid int, line []byte)) (*Attached, error) {
	if err := ctx.Err(); err != nil {
		return nil, &StartError{Reason: reasonCancelled, Err: err}
	}
	a := &Attached{began: time.Now(), exited: make(chan struct{})}
	var watching context.Context
	watching, a.unwatch = context.WithCancel(context.WithoutCancel(ctx))
	emit := func(line []byte) {
		a.tail.add(line)
		output(a.PID(), line)
	}
	creds := &peerCredentials{accept: func(p peercred.Peer) error {
		if p.PID == os.Getpid() { // which would be ended with the attachment
			return errors.New("that is a socket of the host itself")
		}
		a.pid.Store(int64(p.PID))
		return p.SameUser()
	}}
	a.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  Handshake(),
		Plugins:          plugin.PluginSet{pluginName: end{}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		// A test of go-plugin's is what it neither kills nor asks to shut down.
		Reattach: &plugin.ReattachConfig{
			Protocol: plugin.ProtocolGRPC, ProtocolVersion: protocolVersion, Test: true,
			Addr:         &net.UnixAddr{Name: socket, Net: "unix"},
			ReattachFunc: func() (runner.AttachedRunner, error) { return attachedRunner{a}, nil },
		},
		SyncStdout:      &lineWriter{emit: emit},
		SyncStderr:      &lineWriter{emit: emit},
		Logger:          hclog.NewNullLogger(),
		GRPCDialOptions: dialOptions(creds, defaultStartTimeout),
	})
	conn, err := connect(ctx, a.client)
	a.conn = conn
	if err == nil {
		err = isPlugin(ctx, conn)
	}
	if err != nil {
		return nil, &StartError{Reason: fmt.Sprintf("%s: %v", socket, err), Err: errors.Join(err, a.Close())}
	}
	a.watched.Go(func() { a.watch(watching) })
	return a, nil
}

// isPlugin is an error where another program listens, which nobody wants to be ended with
// the attachment.
func isPlugin(ctx context.Context, conn *grpc.ClientConn) error {
	r, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: plugin.GRPCServiceName})
	if err != nil {
		return fmt.Errorf("is it a gaia plugin? Its health, of %q: %w", plugin.GRPCServiceName, err)
	}
	if r.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("is it a gaia plugin? Its health, of %q, is %v", plugin.GRPCServiceName, r.GetStatus())
	}
	return nil
}

// watch sees the connection end, which the process's end brings about.
func (a *Attached) watch(ctx context.Context) {
	for a.conn.GetState() == connectivity.Ready {
		if !a.conn.WaitForStateChange(ctx, connectivity.Ready) {
			return
		}
	}
	if a.asked.Load() {
		a.awaitEnd(ctx)
	}
	a.detach()
}

// awaitEnd waits for the process, which closes its connections before it ends: until then it
// may have a port or a lock that who comes after it needs. Not for long, for nobody may reap it.
func (a *Attached) awaitEnd(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for syscall.Kill(a.PID(), 0) == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// detach lets go of the plugin, which lives on.
func (a *Attached) detach() {
	a.detachOnce.Do(func() {
		a.exit = Exit{Detached: true, Ran: time.Since(a.began)}
		close(a.exited)
		a.unwatch()
	})
}

// Conn is the connection to the plugin's gRPC server.
func (a *Attached) Conn() *grpc.ClientConn { return a.conn }

// LinkSocket is nil: there is no socket that the plugin could have inherited.
func (a *Attached) LinkSocket() net.Conn { return nil }

// PID is the id of the process that listens.
func (a *Attached) PID() int { return int(a.pid.Load()) }

// Exited is closed when the plugin cannot be reached any more, or was let go.
func (a *Attached) Exited() <-chan struct{} { return a.exited }

// Drained is Exited: what the plugin writes is not waited for.
func (a *Attached) Drained() <-chan struct{} { return a.exited }

// Exit says how long it was attached. It is valid after Exited is closed.
func (a *Attached) Exit() Exit { return a.exit }

// Tail returns the last lines that the plugin wrote.
func (a *Attached) Tail() []string { return a.tail.copy() }

// LastWords is "": the end of an attachment needs no reason.
func (a *Attached) LastWords() string { return "" }

// Terminate asks the process to end (SIGTERM), as who comes after it may need the port or
// the lock that it has. It does not wait.
func (a *Attached) Terminate() {
	select {
	case <-a.exited: // and its id may be another's by now
	default:
		if pid := a.PID(); pid > 0 {
			a.asked.Store(true)
			_ = syscall.Kill(pid, syscall.SIGTERM) // it may end at this very moment
		}
	}
}

// Signal does nothing: the process is somebody else's.
func (a *Attached) Signal(syscall.Signal) {}

// Kill lets go of the plugin, however it is: who has started it ends it.
func (a *Attached) Kill() { a.detach() }

// Close lets go of the plugin and closes the connection. It may be called again.
func (a *Attached) Close() error {
	a.detach()
	a.watched.Wait()
	a.closeOnce.Do(func() {
		if a.conn != nil { // it came to one
			a.closeErr = a.conn.Close()
		}
	})
	return a.closeErr
}

// attachedRunner is an Attached as go-plugin sees it.
type attachedRunner struct{ a *Attached }

// Wait is called by go-plugin, which ends what it does with the connection then.
func (r attachedRunner) Wait(context.Context) error {
	<-r.a.exited
	return nil
}

// Kill is not called for a test of go-plugin's.
func (r attachedRunner) Kill(context.Context) error {
	r.a.detach()
	return nil
}

// ID is the process id.
func (r attachedRunner) ID() string { return strconv.Itoa(r.a.PID()) }

// PluginToHost and HostToPlugin: both live in one file system.
func (attachedRunner) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

// HostToPlugin returns the address as it is.
func (attachedRunner) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
