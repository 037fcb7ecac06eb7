package sdk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gaia-go/gaia/sdk/wire"
)

// keeperPatience is how long the host may take to answer. It waits itself, for
// 2 s at most, until what an earlier instance left behind is gone.
const keeperPatience = 10 * time.Second

// hostKeeper is made before anybody can start a process, which would inherit the
// descriptor.
//
//nolint:gochecknoglobals // the process has one host, and inherits one descriptor
var hostKeeper = inheritKeeper()

// keeper is the host's, seen from here. Safe for concurrent use.
type keeper struct {
	fault  error         // why it cannot be reached; nil if it can
	turn   chan struct{} // has room for the one who is asking
	socket *os.File      // until the first question
	conn   *wire.KeeperConn
	id     uint32 // of the last question
}

// inheritKeeper closes the socket to processes that this one will start, and
// takes it out of their environment.
func inheritKeeper() *keeper {
	k := &keeper{turn: make(chan struct{}, 1)}
	text := os.Getenv(wire.EnvKeeperFD)
	if text == "" {
		k.fault = ErrKeepUnavailable
		return k
	}
	_ = os.Unsetenv(wire.EnvKeeperFD) // it fails for impossible names only
	fd, err := strconv.Atoi(text)
	if err == nil && fd < 3 {
		err = errors.New("one of the standard streams")
	}
	if err == nil {
		_, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	}
	if err != nil {
		k.fault = fmt.Errorf("%w: %s is %q, want the descriptor of a socket: %w", ErrKeepUnavailable, wire.EnvKeeperFD, text, err)
		return k
	}
	unix.CloseOnExec(fd)
	k.socket = os.NewFile(uintptr(fd), "keeper")
	return k
}

// call asks and waits for the answer, whose files are the caller's.
func (k *keeper) call(request wire.KeeperMessage) (wire.KeeperMessage, error) {
	if k.fault != nil {
		return wire.KeeperMessage{}, k.fault
	}
	k.turn <- struct{}{}
	defer func() { <-k.turn }()
	answer, err := k.ask(request)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		return answer, fmt.Errorf("%w: it has closed the connection", ErrKeepUnavailable)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return answer, fmt.Errorf("no answer of the host within %v", keeperPatience)
	case err != nil:
		return answer, err
	}
	answer.Data = bytes.Clone(answer.Data)
	if err := checkAnswer(request, answer); err != nil {
		wire.CloseFiles(answer.Files)
		return answer, err
	}
	return answer, nil
}

func (k *keeper) ask(request wire.KeeperMessage) (wire.KeeperMessage, error) {
	if k.socket != nil {
		conn, err := wire.NewKeeperConn(k.socket)
		if err != nil {
			return wire.KeeperMessage{}, fmt.Errorf("%w: %w", ErrKeepUnavailable, err)
		}
		k.socket, k.conn = nil, conn
	}
	k.id++
	request.ID = k.id
	if err := k.conn.SetDeadline(time.Now().Add(keeperPatience)); err != nil {
		return wire.KeeperMessage{}, err
	}
	if err := k.conn.Send(request); err != nil {
		return wire.KeeperMessage{}, err
	}
	for {
		answer, err := k.conn.Receive()
		if err != nil || answer.ID == request.ID {
			return answer, err
		}
		wire.CloseFiles(answer.Files) // of a question that was given up
	}
}

// checkAnswer returns what the host says against the request. It lets nothing
// pass that was not asked for, so that a faulty host cannot make a plugin panic.
func checkAnswer(request, answer wire.KeeperMessage) error {
	if answer.Kind == wire.KeeperRefused {
		return errors.New(string(answer.Data))
	}
	if answer.FilesLost {
		return errors.New("no descriptors left for the files (ulimit -n)")
	}
	fits := false
	switch request.Kind {
	case wire.KeeperNext:
		fits = answer.Kind == wire.KeeperEnd || answer.Kind == wire.KeeperEntry && answer.Name > request.Name
	case wire.KeeperExit:
		fits = answer.Kind == wire.KeeperExited || answer.Kind == wire.KeeperRunning && len(answer.Files) == 1
	default:
		fits = answer.Kind == wire.KeeperDone
	}
	if !fits {
		return fmt.Errorf("answer %d of the host, with %d files, does not fit to request %d", answer.Kind, len(answer.Files), request.Kind)
	}
	return nil
}

// duplicates are descriptors for the same files, to be closed by the caller even
// after an error. Unlike Fd, this leaves a pipe as it is.
func duplicates(files []*os.File) (copies []int, err error) {
	for i, f := range files {
		raw, err := f.SyscallConn()
		if err != nil {
			return copies, fmt.Errorf("file %d: %w", i, err)
		}
		copied := -1
		var inner error
		err = raw.Control(func(fd uintptr) { copied, inner = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
		if err := errors.Join(err, inner); err != nil {
			return copies, fmt.Errorf("file %d: %w", i, err)
		}
		copies = append(copies, copied)
	}
	return copies, nil
}
