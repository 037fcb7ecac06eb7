package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

// TestMain makes the test binary its own fleet of plugins: called by the name
// of a behaviour, it behaves so.
func TestMain(m *testing.M) {
	if behave, ok := fleet()[filepath.Base(os.Args[0])]; ok {
		behave()
		return
	}
	m.Run()
}

func fleet() map[string]func() {
	return map[string]func(){
		"well-behaved":      serve,
		"ignores-sigterm":   func() { signal.Ignore(syscall.SIGTERM); serve() },
		"keeps-a-child":     func() { leave("child", &syscall.SysProcAttr{}); serve() },
		"keeps-a-daemon":    func() { leave("daemon", &syscall.SysProcAttr{Setsid: true}); serve() },
		"rubbish-first":     func() { say("Loading models..."); untilHostDies() },
		"empty-first-line":  func() { say(""); untilHostDies() },
		"endless-line":      func() { _, _ = os.Stdout.WriteString(strings.Repeat("x", 1<<20)); untilHostDies() },
		"never-handshakes":  func() { fmt.Fprintln(os.Stderr, "thinking"); untilHostDies() },
		"exits-at-once":     func() { fmt.Fprintln(os.Stderr, "no licence found"); os.Exit(3) },
		"exits-silently":    func() {},
		"panics-at-once":    panicDeeply,
		"killed-at-once":    func() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) },
		"closes-stdout":     func() { _ = os.Stdout.Close(); untilHostDies() },
		"next-version":      func() { say("1|2|unix|/nowhere|grpc"); untilHostDies() },
		"next-core":         func() { say("2|1|unix|/nowhere|grpc"); untilHostDies() },
		"speaks-netrpc":     func() { say("1|1|unix|/nowhere"); untilHostDies() },
		"listens-on-tcp":    func() { listen("tcp", "127.0.0.1:0"); untilHostDies() },
		"never-accepts":     func() { listen("unix", privateSocket()); untilHostDies() },
		"exits-after-hello": func() { listen("unix", privateSocket()); os.Exit(4) },
		"sends-another":     sendAnother,
		"another":           func() { listen("unix", os.Getenv("SOCKET")); untilHostDies() },
		"intruder":          intrude,
		"host":              beHost,
	}
}

// serve is what a plugin ought to do.
func serve() {
	err := Serve(ServeConfig{
		Register: func(s *grpc.Server) { grpc_testing.RegisterTestServiceServer(s, actor{}) },
		Logger:   hclog.New(&hclog.LoggerOptions{Output: os.Stderr, Level: hclog.Error}),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// actor does in a call what the request says: a verb and its argument.
type actor struct {
	grpc_testing.UnimplementedTestServiceServer
}

func (actor) UnaryCall(ctx context.Context, r *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	verb, argument, _ := strings.Cut(string(r.GetPayload().GetBody()), " ")
	answer := "done"
	switch verb {
	case "getenv":
		answer = os.Getenv(argument)
	case "print":
		_, _ = fmt.Fprint(os.Stdout, argument)
	case "print-for-ever":
		go func() {
			for {
				say("more")
			}
		}()
	case "flood-lines":
		flood(strings.Repeat(strings.Repeat("y", 1023)+"\n", 1024))
	case "flood-line":
		flood(strings.Repeat("y", 1<<20))
	case "panic":
		panicDeeply()
	case "exit":
		code, err := strconv.Atoi(argument)
		if err != nil {
			return nil, err
		}
		os.Exit(code)
	case "hang":
		writeRaw(2, "hanging\n")
		<-ctx.Done()
	default:
		return nil, status.Errorf(codes.InvalidArgument, "cannot %q", verb)
	}
	return &grpc_testing.SimpleResponse{Username: answer}, nil
}

// do asks the actor behind conn for something.
func do(ctx context.Context, conn grpc.ClientConnInterface, what string) (string, error) {
	r, err := grpc_testing.NewTestServiceClient(conn).UnaryCall(ctx, &grpc_testing.SimpleRequest{
		Payload: &grpc_testing.Payload{Body: []byte(what)},
	})
	return r.GetUsername(), err
}

// flood writes a megabyte 64 times to the raw descriptor, and then a last line.
func flood(megabyte string) {
	for range 64 {
		writeRaw(1, megabyte)
	}
	writeRaw(1, "\nflood ends\n")
}

// writeRaw writes to a descriptor that go-plugin knows nothing of.
func writeRaw(fd int, text string) {
	for rest := []byte(text); len(rest) > 0; {
		n, err := syscall.Write(fd, rest)
		if err != nil {
			panic(err)
		}
		rest = rest[n:]
	}
}

// panicDeeply leaves more stack than a tail has room for.
func panicDeeply() {
	var dive func(int)
	dive = func(depth int) {
		if depth == 0 {
			panic("too deep")
		}
		dive(depth - 1)
	}
	dive(30)
}

// leave starts a process that holds standard output and error, and says who.
func leave(what string, attributes *syscall.SysProcAttr) {
	cmd := exec.CommandContext(context.Background(), "sleep", "60")
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = os.Stdout, os.Stderr, attributes
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stderr, what, cmd.Process.Pid)
}

// say writes a line to wherever standard output leads by now.
func say(what any) { _, _ = fmt.Fprintln(os.Stdout, what) }

// untilHostDies also lets nothing survive a test that goes wrong.
func untilHostDies() { _, _ = io.Copy(io.Discard, os.Stdin) }

func privateSocket() string { return filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "socket") }

// listen offers a socket in the handshake but never accepts.
func listen(network, address string) {
	var config net.ListenConfig
	listener, err := config.Listen(context.Background(), network, address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	say(fmt.Sprintf("1|1|%s|%s|grpc", network, listener.Addr()))
}

// sendAnother passes on the handshake of a process outside of its group.
func sendAnother() {
	cmd := exec.CommandContext(context.Background(), os.Getenv("ANOTHER"))
	cmd.Env = append(os.Environ(), "SOCKET="+privateSocket())
	cmd.Stdin, cmd.Stderr, cmd.SysProcAttr = os.Stdin, os.Stderr, &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stderr, "another", cmd.Process.Pid)
	_, _ = io.Copy(os.Stdout, out)
}

// intrude calls a plugin that belongs to somebody else and prints the outcome.
func intrude() {
	conn, err := grpc.NewClient("unix:"+os.Getenv("SOCKET"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err == nil {
		_, err = do(context.Background(), conn, "getenv HOME")
		err = errors.Join(err, conn.Close())
	}
	say(status.Code(err))
}

// beHost starts the plugin that the environment names, says its process id and
// waits to be killed.
func beHost() {
	p, err := Start(context.Background(), Command{Path: os.Getenv("PLUGIN"), SocketDir: os.Getenv("SOCKETS")})
	if err != nil {
		say(err)
		os.Exit(1)
	}
	say(p.PID())
	untilHostDies()
}
