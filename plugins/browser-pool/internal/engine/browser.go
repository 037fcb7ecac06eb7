package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
)

const (
	// groupName is a file in each profile with the id of the browser's process
	// group, for whoever has to clean up after this process.
	groupName = "gaia.group"

	// maxProfile is the longest path of a profile: Chromium makes a socket in it
	// ("/org.chromium.Chromium.123456/SingletonSocket"), whose path has 103 bytes at
	// most on some systems. It aborts when it has more.
	maxProfile = 103 - 45

	// startTime is how long a browser may take to answer. It is 0.1 s warm, 1 s
	// cold, and some seconds when many start on a busy machine.
	startTime = 20 * time.Second
)

// Options say how a browser is started.
type Options struct {
	Program   Program
	Home      *Home
	NoSandbox bool     // also where the sandbox could run
	Args      []string // more arguments
	// Handle gets the events of the browser as a whole, see devtools.Handler.
	Handle devtools.Handler
}

// Browser is a running browser. Its methods are safe for concurrent use.
type Browser struct {
	*devtools.Conn

	Product string // such as "HeadlessChrome/156.0.8078.73"

	cmd     *exec.Cmd
	profile string
	output  output
	done    chan struct{} // closed when nothing of it is left
	exit    error         // written before done is closed

	mu     sync.Mutex
	reaped bool // the id of the group may be somebody else's
}

// Start starts a browser and waits until it answers. ctx bounds the start only.
// The caller closes the browser, which ends in any case when this process does.
func Start(ctx context.Context, o Options) (*Browser, error) {
	profile, err := o.Home.profile()
	if err != nil {
		return nil, err
	}
	if o.Program.Engine == browserv1.Engine_CHROMIUM && len(profile) > maxProfile {
		return nil, errors.Join(fmt.Errorf("start %s: it has a socket in its profile, and %s is longer than %d bytes: set TMPDIR to a shorter directory",
			o.Program.Path, profile, maxProfile), removeAll(profile))
	}
	b := &Browser{profile: profile, done: make(chan struct{})}
	b.cmd = exec.Command(o.Program.Path, o.arguments(profile)...) //nolint:gosec,noctx // G204: the operator's browser, which outlives ctx
	b.cmd.Env = environment(profile)
	b.cmd.Dir = profile
	b.cmd.Stderr = &b.output
	b.cmd.WaitDelay = time.Second // its output may be held by a process that was not in its group
	b.cmd.SysProcAttr = attributes()
	if err := b.start(o.Handle); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", o.Program.Path, err), removeAll(profile))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startTime, fmt.Errorf("no answer within %v", startTime))
	defer cancel()
	version, err := devtools.Call(ctx, b.Session, browser.GetVersion, cdp.Empty{})
	if err != nil {
		b.Close()
		return nil, fmt.Errorf("start %s: %w (%w; it wrote: %s)", o.Program.Path, err, b.exit, b.output.last())
	}
	b.Product = version.Product
	return b, nil
}

// environment is what a browser gets of this process's: where programs, fonts
// and the user's language are, and no secret. Its own files go to its profile.
func environment(profile string) []string {
	env := []string{"HOME=" + profile, "TMPDIR=" + profile, "XDG_CONFIG_HOME=" + profile, "XDG_CACHE_HOME=" + profile, "GOOGLE_API_KEY=no", "DBUS_SESSION_BUS_ADDRESS=disabled:"}
	for _, key := range []string{"PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "FONTCONFIG_PATH", "FONTCONFIG_FILE"} {
		if value, ok := os.LookupEnv(key); ok {
			env = append(env, key+"="+value)
		}
	}
	return env
}

// start runs the process with a pipe at its descriptors 3 (commands) and 4
// (messages), and the goroutines that serve it until it has ended.
func (b *Browser) start(handle devtools.Handler) error {
	commandsIn, commands, err := os.Pipe()
	if err != nil {
		return err
	}
	messages, messagesOut, err := os.Pipe()
	if err != nil {
		return errors.Join(err, commandsIn.Close(), commands.Close())
	}
	b.cmd.ExtraFiles = []*os.File{commandsIn, messagesOut}
	started := make(chan error)
	b.Conn = devtools.NewConn(messages, commands, handle)
	go func() {
		// The browser dies with the thread that started it (see attributes).
		defer lockThread()()
		err := b.cmd.Start()
		_ = commandsIn.Close()
		_ = messagesOut.Close()
		if err == nil {
			err = os.WriteFile(filepath.Join(b.profile, groupName), []byte(strconv.Itoa(b.cmd.Process.Pid)), 0o600)
			if err != nil {
				b.Kill()
			}
		}
		started <- err
		if b.cmd.Process != nil {
			b.serve(messages)
		}
		_ = messages.Close() // again, or of one that has not started
		close(b.done)
	}()
	if err := <-started; err != nil {
		<-b.done
		_ = commands.Close()
		return err
	}
	return nil
}

// serve passes messages until the browser's pipe ends, which is its death, and
// then makes sure of it.
func (b *Browser) serve(messages io.Closer) {
	var conn sync.WaitGroup
	conn.Go(func() {
		b.Run()
		b.Kill() // a browser that closes its pipe is of no use, even if it runs on
	})
	awaitExit(b)
	b.Kill() // whoever it left behind
	b.mu.Lock()
	b.reaped = true
	b.mu.Unlock()
	b.exit = b.cmd.Wait()
	_ = messages.Close() // a process that has left the group may hold the other end
	conn.Wait()
	if err := removeAll(b.profile); err != nil {
		b.exit = errors.Join(b.exit, err)
	}
}

// PID is the id of the browser's process and of its process group.
func (b *Browser) PID() int { return b.cmd.Process.Pid }

// Done is closed when the browser has ended: its processes are reaped and its
// profile is removed.
func (b *Browser) Done() <-chan struct{} { return b.done }

// Exit says how it ended, after Done: "signal: killed", or nil for exit code 0.
func (b *Browser) Exit() error { return b.exit }

// Kill ends the browser with all its processes and does not wait. Calls in
// flight fail at once. Its profile is nothing that anybody needs, so there is no
// gentler way.
func (b *Browser) Kill() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.reaped {
		_ = syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL) // ESRCH: nobody is left
	}
}

// Close is Kill, and waits until nothing of the browser is left.
func (b *Browser) Close() {
	b.Kill()
	<-b.done
}

// Process is one of a browser's.
type Process struct {
	PID        int
	IsRenderer bool   // it runs pages
	Memory     uint64 // bytes
}
