package keeper

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gaia-go/gaia/sdk"
)

// TestMain makes the test binary its own fleet: called by the name of a
// behaviour, it behaves so.
func TestMain(m *testing.M) {
	if behave, ok := fleet()[filepath.Base(os.Args[0])]; ok {
		if err := behave(); err != nil {
			fmt.Fprintln(os.Stderr, os.Args[0], err)
			os.Exit(1)
		}
		return
	}
	m.Run()
}

func fleet() map[string]func() error {
	return map[string]func() error{
		"manager": manage,
		"writer":  writeLines,
		"parent":  beParent,
		"heir":    inherit,
		"exits-7": exitOnSIGTERM,
		"stays":   stay,
		"server":  serve,
		"leaver":  leave,
		"settler": settle,
		"steps":   stepAside,
		"sleeper": sleep,
		"daemon":  startDaemon,
		"plugin":  bePlugin,
	}
}

const (
	lines = 30_000
	web1  = "process/web-1"
)

func say(format string, args ...any) { _, _ = fmt.Fprintf(os.Stdout, format+"\n", args...) }

// run starts this program under another name.
func run(name string, stdin, stdout *os.File, attributes syscall.SysProcAttr) (*exec.Cmd, error) {
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{name}, Stdout: stdout, Stderr: os.Stderr, SysProcAttr: &attributes}
	if stdin != nil {
		cmd.Stdin = stdin
	}
	return cmd, cmd.Start()
}

// runKept starts this program in a process group of its own and keeps its pidfd.
func runKept(name string, data []byte, stdin, stdout *os.File, files ...*os.File) (*exec.Cmd, error) {
	pidfd := -1
	cmd, err := run(name, stdin, stdout, syscall.SysProcAttr{Setpgid: true, PidFD: &pidfd})
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(pidfd), "pidfd")
	defer f.Close()
	return cmd, sdk.Keep(web1, data, append([]*os.File{f}, files...)...)
}

// manage starts a process that writes and moves its output to a file, or goes
// on with that where its predecessor stopped.
func manage() error {
	entries, err := sdk.Kept()
	if err != nil {
		return err
	}
	var output, log *os.File
	switch len(entries) {
	case 0:
		reader, writer, err := os.Pipe()
		if err != nil {
			return err
		}
		if log, err = os.Create(os.Getenv("LOG")); err != nil {
			return err
		}
		output = reader
		if _, err := runKept("writer", []byte("state"), nil, writer, output, log); err != nil {
			return err
		}
		_ = writer.Close()
	case 1:
		if got := entries[0]; got.Name != web1 || string(got.Data) != "state" || len(got.Files) != 3 {
			return fmt.Errorf("kept: %+v", got)
		}
		output, log = entries[0].Files[1], entries[0].Files[2]
	}
	say("ready")
	for {
		// The kernel moves bytes and both offsets at once, whatever kills us.
		n, err := unix.Splice(int(output.Fd()), nil, int(log.Fd()), nil, 1<<16, 0)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
	}
	status, err := sdk.AwaitExit(context.Background(), web1)
	if err != nil {
		return err
	}
	say("%v", status)
	return sdk.Forget(web1)
}

func writeLines() error {
	for n := range lines {
		say("line %d", n)
	}
	os.Exit(7)
	return nil
}

// beParent starts one process, which it keeps, and waits for it if it is to.
func beParent() error {
	cmd, err := runKept(os.Getenv("CHILD"), nil, nil, os.Stdout)
	if err != nil {
		return err
	}
	say("child %d", cmd.Process.Pid)
	if os.Getenv("WAITS") != "" {
		_ = cmd.Wait() // an exit code
		say("has waited")
	}
	return untilHostEnds()
}

// inherit says how the process ended that a predecessor had started.
func inherit() error {
	entries, err := sdk.Kept()
	if err != nil || len(entries) != 1 {
		return fmt.Errorf("kept: %v, error %w", entries, err)
	}
	say("waiting")
	status, err := sdk.AwaitExit(context.Background(), web1)
	if err != nil {
		say("%v", err)
	} else {
		say("%v", status)
	}
	return untilHostEnds()
}

func exitOnSIGTERM() error {
	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, syscall.SIGTERM)
	say("awaits its end")
	<-terminate
	os.Exit(7)
	return nil
}

func stay() error {
	signal.Ignore(syscall.SIGTERM)
	say("stays")
	return sleep()
}

// serve greets whoever connects to a listener, which the first of its kind makes.
func serve() error {
	entries, err := sdk.Kept()
	if err != nil {
		return err
	}
	var listener net.Listener
	if len(entries) == 0 {
		var config net.ListenConfig
		if listener, err = config.Listen(context.Background(), "tcp", "127.0.0.1:0"); err != nil {
			return err
		}
		file, err := listener.(*net.TCPListener).File()
		if err != nil {
			return err
		}
		if err := sdk.Keep("listener", nil, file); err != nil {
			return err
		}
	} else if listener, err = net.FileListener(entries[0].Files[0]); err != nil {
		return err
	}
	say("%v", listener.Addr())
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		_, _ = io.WriteString(conn, "hello")
		_ = conn.Close()
	}
}

// leave starts all kinds of processes that nobody keeps.
func leave() error {
	for _, name := range []string{"sleeper", "daemon"} {
		for _, attributes := range []syscall.SysProcAttr{{}, {Setpgid: true}, {Setsid: true}} {
			if _, err := run(name, nil, os.Stdout, attributes); err != nil {
				return err
			}
		}
	}
	return untilHostEnds()
}

// settle keeps a process that starts a daemon thereafter.
func settle() error {
	reader, writer, err := os.Pipe()
	if err != nil {
		return err
	}
	if _, err := runKept("steps", nil, reader, os.Stdout); err != nil {
		return err
	}
	if _, err := io.WriteString(writer, "go"); err != nil {
		return err
	}
	return sleep()
}

// stepAside starts a daemon when it is told to.
func stepAside() error {
	if _, err := os.Stdin.Read(make([]byte, 2)); err != nil {
		return err
	}
	if _, err := run("daemon", nil, os.Stdout, syscall.SysProcAttr{}); err != nil {
		return err
	}
	return sleep()
}

// startDaemon starts a process in a session of its own, and ends.
func startDaemon() error {
	_, err := run("sleeper", nil, os.Stdout, syscall.SysProcAttr{Setsid: true})
	return err
}

func sleep() error {
	say("sleeper %d", os.Getpid())
	<-time.After(time.Minute)
	return nil
}

// untilHostEnds also lets nothing survive a test that goes wrong.
func untilHostEnds() error {
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}
