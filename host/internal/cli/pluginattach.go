package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/gaia-go/gaia/sdk/wire"
	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
)

// endGrace is how long a command may take to end after SIGTERM.
const endGrace = 5 * time.Second

func (c *command) pluginAttachCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "attach SUBSYSTEM [-- COMMAND...]",
		Short: "Let a process that you run, under a debugger say, serve a subsystem",
		Long: `attach runs COMMAND, which starts the plugin, and lets it take over from the
subsystem's instance. Without COMMAND it prints the environment to start the plugin in,
from an IDE say, and waits for its handshake line (1|1|unix|…) on standard input.

While a process is attached, the host does not check its health and ends no call of it:
limits.timeout does not hold, a caller's own deadline does. Limits of memory and the like
do not hold for it, nor does the link; children that a plugin keeps across restarts are not
given to it. gaia status says "attached", and what the plugin logs is in gaia logs.

With Ctrl-C the configured plugin takes over again, and the calls that are under way end
in the attached one, which then gets a SIGTERM, as COMMAND does. When COMMAND ends by itself, calls that may be
repeated are, and the configured plugin is started again. A swap or restart of the
subsystem ends the attachment, too, and so does a reload that has to start it anew. A host
whose plugins are locked or signed attaches none.`,
		Example: `  gaia plugin attach hello -- go run ./examples/hello
  gaia plugin attach hello -- dlv exec --headless --listen=127.0.0.1:2345 --accept-multiclient --continue bin/plugins/hello
  gaia plugin attach hello`,
		Args:              takes(1, 1<<20, "a SUBSYSTEM"),
		ValidArgsFunction: c.completeSubsystem,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 && cmd.ArgsLenAtDash() != 1 {
				return usageError(cmd, "%s takes one SUBSYSTEM; the command comes after --", cmd.CommandPath())
			}
			return c.pluginAttach(cmd.Context(), args[0], args[1:])
		},
	}
}

func (c *command) pluginAttach(ctx context.Context, subsystem string, args []string) error {
	h, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer h.Close()
	reply, err := h.Status(ctx, &hostv1.StatusRequest{Subsystem: subsystem})
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("/tmp", "gaia-attach") // short, as the path of a socket has to be
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // an empty directory for temporary files
	env := wire.AttachEnv(int(reply.GetPid()), dir, "info")
	if len(args) == 0 {
		socket, err := c.pastedHandshake(ctx, env)
		if err != nil {
			return err
		}
		return c.attach(ctx, h, subsystem, socket, nil)
	}
	run, err := c.startDebugged(args, env)
	if err != nil {
		return err
	}
	defer run.end()
	select {
	case socket := <-run.handshake:
		return c.attach(ctx, h, subsystem, socket, run.ended)
	case <-run.ended:
		return failed("%s ended before the plugin said its handshake", args[0]).hint("it has to start the plugin and to pass on its standard output")
	case err := <-run.faulty:
		return failed("%v", err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pastedHandshake prints the environment and waits for the line that the plugin prints.
func (c *command) pastedHandshake(ctx context.Context, env []string) (string, error) {
	if _, err := fmt.Fprintf(c.Stdout, "export %s\n", strings.Join(env, "\nexport ")); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c.Stderr, "Start the plugin in this environment, and paste the line here that it prints first, 1|1|unix|…\n"); err != nil {
		return "", err
	}
	found, faulty := make(chan string, 1), make(chan error, 1)
	go func() { // it ends with standard input, or the process
		findHandshake(c.Stdin, io.Discard, found, faulty)
		faulty <- errors.New("standard input ended without a handshake line")
	}()
	select {
	case socket := <-found:
		return socket, nil
	case err := <-faulty:
		return "", failed("%v", err)
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// findHandshake copies lines until the end, and tells the first handshake among them.
func findHandshake(from io.Reader, to io.Writer, found chan<- string, faulty chan<- error) {
	lines := bufio.NewReader(from)
	told := false
	for {
		line, err := lines.ReadString('\n')
		_, _ = io.WriteString(to, line) // a terminal that is gone
		if socket, ok, fault := wire.ParseHandshake(line); ok && !told {
			told = true
			if fault != nil {
				faulty <- fault
			} else {
				found <- socket
			}
		}
		if err != nil {
			return
		}
	}
}

// debugged is a command that has started, or is about to start, the plugin.
type debugged struct {
	cmd       *exec.Cmd
	out       io.Closer   // that we read from
	handshake chan string // told once, when the plugin has said it
	faulty    chan error  // told once, when what it said is of no use
	ended     chan struct{}
}

// startDebugged starts a command in a process group of its own: Ctrl-C is for us.
func (c *command) startDebugged(args, env []string) (*debugged, error) {
	cmd := exec.Command(args[0], args[1:]...) //nolint:gosec,noctx // G204: what the user wants; end ends it
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stderr = c.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, failed("%v", err)
	}
	d := &debugged{cmd: cmd, out: out, handshake: make(chan string, 1), faulty: make(chan error, 1), ended: make(chan struct{})}
	go func() {
		defer close(d.ended)
		findHandshake(out, c.Stdout, d.handshake, d.faulty)
		_ = cmd.Wait() // how it ended is its own affair
	}()
	return d, nil
}

// end ends the command and all of its process group. What it started in another one, as
// debuggers do, may hold its output open for as long as it likes.
func (d *debugged) end() {
	group := -d.cmd.Process.Pid
	_ = syscall.Kill(group, syscall.SIGTERM)
	timer := time.NewTimer(endGrace)
	defer timer.Stop()
	select {
	case <-d.ended:
	case <-timer.C:
	}
	_ = syscall.Kill(group, syscall.SIGKILL) // ESRCH: nobody is left
	_ = d.out.Close()                        // it may be closed already
	<-d.ended
}

// attach lets the plugin behind a socket serve, until ctx or the command ends, or the host has
// another one. ended may be nil.
func (c *command) attach(ctx context.Context, h *host, subsystem, socket string, ended <-chan struct{}) error {
	callCtx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // the end of ctx is told in an orderly way
	defer cancel()
	stream, err := h.Attach(callCtx)
	if err == nil {
		err = stream.Send(&hostv1.AttachRequest{Subsystem: subsystem, Socket: socket})
	}
	if err != nil && !errors.Is(err, io.EOF) { // whose reason Recv has
		return err
	}
	over := make(chan error, 1)
	go func() { over <- c.follow(stream) }()
	select {
	case err := <-over:
		return err
	case <-ended:
	case <-ctx.Done():
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	return <-over // the second Ctrl-C does not wait
}

// follow says what becomes of an attachment, and returns when it is over.
func (c *command) follow(stream grpc.BidiStreamingClient[hostv1.AttachRequest, hostv1.AttachResponse]) error {
	for {
		r, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			_, err := fmt.Fprintln(c.Stderr, "gaia: detached")
			return err
		case err != nil:
			return err
		}
		s := r.GetSubsystem()
		_, err = fmt.Fprintf(c.Stderr, "gaia: %s: process %d is attached as generation %d; Ctrl-C detaches it\n", s.GetName(), s.GetPid(), s.GetGeneration())
		if err != nil {
			return err
		}
	}
}
