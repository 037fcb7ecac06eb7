package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gaia-go/gaia/sdk/wire"
)

// answerTime is how long a plugin may take to receive an answer, once its
// socket is full.
const answerTime = 2 * time.Second

// Session is one instance's access to the store of its subsystem. In this order:
// Open; a goroutine for Serve; the start of the process, with Env, Files and
// Launch; Close, when the process has been waited for or was not started.
type Session struct {
	store  *Store
	number uint64
	conn   *wire.KeeperConn
	plugin *os.File // the other end

	launching sync.Once
	launched  chan struct{} // closed when the process is known, or will not be

	// What follows is Run's.
	pid     int // 0 before the launch
	pidfd   int // -1 before the launch, and if there could be none
	serial  uint32
	served  bool // Serve has read all that the instance sent
	dead    bool // the instance has ended
	reaped  bool // and was waited for
	closed  bool
	orphans map[int]struct{} // those that had to be killed
}

// Open begins the session of an instance that is about to be started. Sessions
// of one store may overlap: all instances see the same entries.
func (s *Store) Open() (*Session, error) {
	conn, plugin, err := connection()
	if err != nil {
		return nil, fmt.Errorf("keeper: %w", err)
	}
	session := &Session{store: s, conn: conn, plugin: plugin, launched: make(chan struct{}), pidfd: -1, orphans: make(map[int]struct{})}
	k := s.keeper
	stopped := k.do(func() {
		if k.closing || s.closed {
			err = errStopped
			return
		}
		for session.number == 0 || k.sessions[session.number] != nil {
			session.number = newNumber()
		}
		k.sessions[session.number] = session
		k.stores[s] = struct{}{}
	})
	if err := errors.Join(stopped, err); err != nil {
		return nil, errors.Join(err, conn.Close(), plugin.Close())
	}
	return session, nil
}

// connection makes both ends of a session's socket.
func connection() (host *wire.KeeperConn, plugin *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	plugin = os.NewFile(uintptr(pair[1]), "keeper")
	host, err = wire.NewKeeperConn(os.NewFile(uintptr(pair[0]), "keeper"))
	if err != nil {
		return nil, nil, errors.Join(err, plugin.Close())
	}
	return host, plugin, nil
}

// Files are what the process inherits. They are open until Launch has started it.
func (s *Session) Files() []*os.File { return []*os.File{s.plugin} }

// Env is what the process's environment says about them; first is the
// descriptor that the first of Files becomes: 3 plus the extra files before it.
func (s *Session) Env(first int) []string {
	return []string{wire.EnvKeeperFD + "=" + strconv.Itoa(first)}
}

// Launch wraps what starts the process, nil for cmd.Start, as wire.Command.Launch
// wants it. It must be used: by it the keeper knows the process, and those that
// it starts. One process is started at a time.
func (s *Session) Launch(start func(*exec.Cmd) error) func(*exec.Cmd) error {
	if start == nil {
		start = (*exec.Cmd).Start
	}
	return func(cmd *exec.Cmd) error {
		defer s.endLaunch()
		if err := s.launch(cmd, start); err != nil {
			return err
		}
		s.began(cmd.Process.Pid)
		return nil
	}
}

// launch starts the process while the host has its mark, for the process to be
// born with it: later may be too late, a shell has a child within half a
// millisecond. Whatever else the host starts meanwhile has the mark, too; it
// should be nothing, and would come to harm only if the host's first thread
// started it.
func (s *Session) launch(cmd *exec.Cmd, start func(*exec.Cmd) error) error {
	k := s.store.keeper
	if k.lacks != nil {
		return start(cmd)
	}
	k.launching <- struct{}{}
	defer func() { <-k.launching }()
	if err := setMark(0, markWith(s.number, 0)); err != nil {
		return fmt.Errorf("keeper: mark: %w", err)
	}
	defer func() { _ = setMark(0, k.hostMark) }() // as New has found out that it can
	return start(cmd)
}

// endLaunch lets Serve begin, and leaves the socket's other end to the plugin.
func (s *Session) endLaunch() {
	s.launching.Do(func() {
		_ = s.plugin.Close()
		close(s.launched)
	})
}

// began makes a process known that nobody has waited for yet.
func (s *Session) began(pid int) {
	k := s.store.keeper
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		pidfd = -1 // no descriptors left: then Close is what tells of its end
	}
	err = k.do(func() {
		s.pid, s.pidfd = pid, pidfd
		k.sweepSoon() // it may have ended at once
	})
	if err != nil && pidfd >= 0 {
		_ = unix.Close(pidfd)
	}
}

// Serve answers the instance until it ends or closes its socket, Close is
// called, or ctx ends. An error tells what the plugin did wrong; then it has no
// keeper any more. What it had kept stays.
func (s *Session) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = s.conn.Close() })
	defer stop()
	select {
	case <-s.launched: // what it keeps is marked only if it is known itself
	case <-ctx.Done():
	}
	err := s.serve(ctx)
	_ = s.conn.Close()
	_ = s.store.keeper.do(func() { s.served = true; s.store.keeper.sweepSoon() })
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("keeper: subsystem %q: %w", s.store.subsystem, err)
}

func (s *Session) serve(ctx context.Context) error {
	for {
		request, err := s.conn.Receive()
		if errors.Is(err, unix.ECONNRESET) {
			continue // it has ended without receiving an answer, but may have sent more
		}
		if err != nil {
			return err
		}
		if err := check(request); err != nil {
			return err
		}
		answer := s.answer(ctx, request)
		err = s.conn.SetWriteDeadline(time.Now().Add(answerTime))
		if err == nil {
			err = s.conn.Send(answer)
		}
		wire.CloseFiles(answer.Files)
		if err != nil && !errors.Is(err, unix.EPIPE) { // as ECONNRESET
			return err
		}
	}
}

// look sees whether the instance has ended. If it has, what it sent before is
// still read, and then Serve returns.
func (s *Session) look() {
	if s.pidfd < 0 {
		return
	}
	if !s.dead && hasEnded(s.pidfd) {
		s.dead = true
		_ = s.conn.CloseRead() // an error: Serve has returned
	}
	if s.dead && !s.reaped {
		s.reaped = isReaped(s.pidfd)
	}
}

// isOver reports whether the instance has ended and nothing that it said is
// unread: then its orphans are to go.
func (s *Session) isOver() bool { return s.closed || s.dead && s.served }

// isGone reports whether they are gone.
func (s *Session) isGone() bool { return s.isOver() && s.store.keeper.dying[s] == 0 }

// dropSessions forgets those of which nothing is left.
func (k *Keeper) dropSessions() {
	for number, s := range k.sessions {
		known := s.pidfd >= 0
		if !s.closed || !s.isGone() || known && !s.reaped {
			continue
		}
		if known {
			_ = unix.Close(s.pidfd)
		}
		delete(k.sessions, number)
	}
}

// Close ends the session. Descendants of the instance that have outlived it and
// are not kept have been killed and reaped when it returns; orphans is how many
// there were, besides those that died with the instance's process group.
func (s *Session) Close() (orphans int, err error) {
	k := s.store.keeper
	s.endLaunch()      // unless it has been
	_ = s.conn.Close() // unless Serve has
	if err := k.do(func() { s.closed = true }); err != nil {
		return 0, nil //nolint:nilerr // the keeper's end was the session's
	}
	gone := k.await(killTime, nil, s.isGone)
	err = k.do(func() { orphans = len(s.orphans) })
	if err == nil && !gone {
		err = fmt.Errorf("keeper: subsystem %q: processes of an instance have not ended %v after SIGKILL", s.store.subsystem, killTime)
	}
	return orphans, err
}
