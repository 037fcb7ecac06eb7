package sdk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/gaia-go/gaia/sdk/wire"
)

// ErrKeepUnavailable is matched by the errors of Keep, KeepData, Forget, Kept
// and AwaitExit when there is no keeper: the system is not Linux, the host has
// none, the program was not started by a host, or the host has taken it away
// because the program wrote nonsense to it.
var ErrKeepUnavailable = errors.New("the host keeps nothing")

// Keep lets the host keep files that are to outlive this process, such as the
// pipes, terminals and pidfds of children or a listener, together with some
// bytes, in place of what was kept under the name. They are there for every
// instance of the subsystem until Forget or the end of the host. When Keep
// returns nil, the host has duplicates; the caller's files remain the caller's.
// After an error everything is as it was.
//
// A process whose pidfd is among the files (of several the first counts) is
// spared when this process ends, with all that it starts from now on and all in
// the process group or session that it leads; whoever else descends from this
// process is killed then. So such a process has to be started in a group of its
// own (Setpgid or Setsid) and without a parent-death signal, and kept at once.
// It is for the host to reap then, and at its end the host ends it: SIGTERM, and
// 3 s later SIGKILL, to the group.
//
// A name has 1 to 200 bytes, data up to 64 KiB. There may be 16 files under a
// name, and 4096 names, 16 MiB of data and a quarter of the host's limit of open
// files in a subsystem.
//
// Files are kept as they are: who sets one to blocking or seeks in it does so for
// all who hold it. (*os.File).Fd sets a pipe to blocking.
func Keep(name string, data []byte, files ...*os.File) error {
	if err := wire.CheckKept(name, data, len(files)); err != nil {
		return fmt.Errorf("keep %.50q: %w", name, err)
	}
	copies, err := duplicates(files)
	defer wire.CloseFiles(copies)
	if err == nil {
		_, err = hostKeeper.call(wire.KeeperMessage{Kind: wire.KeeperKeep, Name: name, Data: data, Files: copies})
	}
	if err != nil {
		return fmt.Errorf("keep %q: %w", name, err)
	}
	return nil
}

// KeepData replaces the data that is kept under a name, to which something must
// have been kept; the files stay. It costs less than Keep, and how a process has
// ended that has already been waited for stays known on every version of Linux.
func KeepData(name string, data []byte) error {
	err := wire.CheckKept(name, data, 0)
	if err == nil {
		_, err = hostKeeper.call(wire.KeeperMessage{Kind: wire.KeeperKeepData, Name: name, Data: data})
	}
	if err != nil {
		return fmt.Errorf("keep data of %.200q: %w", name, err)
	}
	return nil
}

// Forget closes the host's duplicates of what is kept under a name; there need
// not be anything. A process that an earlier instance had started is killed then,
// if it still runs, and so is what belongs to it; children of this process are
// not touched.
func Forget(name string) error {
	err := wire.CheckKept(name, nil, 0)
	if err == nil {
		_, err = hostKeeper.call(wire.KeeperMessage{Kind: wire.KeeperForget, Name: name})
	}
	if err != nil {
		return fmt.Errorf("forget %.200q: %w", name, err)
	}
	return nil
}

// KeptEntry is what is kept under a name. The files belong to the receiver, in
// the order in which they were kept.
type KeptEntry struct {
	Name  string
	Data  []byte
	Files []*os.File
}

// Close closes the files. What is kept stays kept.
func (e KeptEntry) Close() error {
	faults := make([]error, len(e.Files))
	for i, f := range e.Files {
		faults[i] = f.Close()
	}
	return errors.Join(faults...)
}

// Kept returns all that is kept for the subsystem, sorted by name; it may be
// none. It takes nothing away: other instances, such as one that this one
// replaces or a spare, see the same, and which of them uses it is up to the
// plugin. Processes of earlier instances that have crashed and were not kept are
// gone when it returns.
func Kept() ([]KeptEntry, error) {
	var entries []KeptEntry
	for after := ""; ; {
		answer, err := hostKeeper.call(wire.KeeperMessage{Kind: wire.KeeperNext, Name: after})
		if err != nil {
			for _, e := range entries {
				_ = e.Close() // nothing was written
			}
			return nil, fmt.Errorf("kept: %w", err)
		}
		if answer.Kind == wire.KeeperEnd {
			return entries, nil
		}
		after = answer.Name
		entry := KeptEntry{Name: answer.Name, Data: answer.Data}
		for _, fd := range answer.Files {
			entry.Files = append(entry.Files, os.NewFile(uintptr(fd), answer.Name))
		}
		entries = append(entries, entry)
	}
}

// ExitStatus is how a process ended.
type ExitStatus struct {
	Code     int            // the exit code, or -1 if a signal ended it
	Signal   syscall.Signal // the signal that ended it, or 0
	CoreDump bool
	At       time.Time // when the host saw it, which may be later
}

// String says it in words: "exit code 7".
func (e ExitStatus) String() string {
	if e.Signal != 0 {
		return fmt.Sprintf("signal %d (%v)", int(e.Signal), e.Signal)
	}
	return fmt.Sprintf("exit code %d", e.Code)
}

// AwaitExit waits until the process has ended whose pidfd is kept under a name,
// and says how. It is meant for processes that an earlier instance has started;
// for a child of its own a plugin waits as for any other. The process may have
// ended long ago; the host knows until the name is forgotten or gets other files.
// It does not know, and the error says so, when the instance that had started it
// had waited for it already and Linux is older than 6.15.
func AwaitExit(ctx context.Context, name string) (ExitStatus, error) {
	status, err := awaitExit(ctx, name)
	if err != nil {
		return ExitStatus{}, fmt.Errorf("exit of %.200q: %w", name, err)
	}
	return status, nil
}

func awaitExit(ctx context.Context, name string) (ExitStatus, error) {
	request := wire.KeeperMessage{Kind: wire.KeeperExit, Name: name}
	for wait := time.Duration(0); ; wait = min(max(2*wait, firstExitWait), maxExitWait) {
		answer, err := hostKeeper.call(request)
		if err != nil {
			return ExitStatus{}, err
		}
		if answer.Kind == wire.KeeperExited {
			exit, err := wire.DecodeKeptExit(answer.Data)
			return exitStatus(exit), err
		}
		request.Data = answer.Data
		if err := awaitEnd(ctx, answer.Files); err != nil {
			return ExitStatus{}, err
		}
		if err := pause(ctx, wait); err != nil {
			return ExitStatus{}, err
		}
	}
}

// While another instance is the parent and has not waited for its child, nobody
// knows how that ended.
const (
	firstExitWait = 5 * time.Millisecond
	maxExitWait   = time.Second
)

func pause(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func exitStatus(e wire.KeptExit) ExitStatus {
	status := ExitStatus{Code: e.Status.ExitStatus(), CoreDump: e.Status.CoreDump(), At: e.At}
	if e.Status.Signaled() {
		status.Signal = e.Status.Signal()
	}
	return status
}
