package keeper

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gaia-go/gaia/sdk/wire"
)

var errNotKept = errors.New("nothing is kept under this name")

// check finds what no request may be. The files are closed then.
func check(r wire.KeeperMessage) error {
	if r.Kind < wire.KeeperKeep || r.Kind > wire.KeeperExit {
		wire.CloseFiles(r.Files)
		return fmt.Errorf("a message of kind %d, which is no request", r.Kind)
	}
	if r.Kind != wire.KeeperKeep && len(r.Files) > 0 {
		wire.CloseFiles(r.Files)
		return fmt.Errorf("%d files with a message of kind %d, which has none", len(r.Files), r.Kind)
	}
	return nil
}

// answer does what an instance asks for. The files of the answer are the
// caller's.
func (s *Session) answer(ctx context.Context, r wire.KeeperMessage) wire.KeeperMessage {
	var answer wire.KeeperMessage
	var err error
	switch r.Kind {
	case wire.KeeperKeep:
		answer, err = s.keep(r)
	case wire.KeeperKeepData:
		answer, err = s.keepData(r)
	case wire.KeeperForget:
		answer, err = s.forget(r.Name)
	case wire.KeeperNext:
		answer, err = s.next(ctx, r.Name)
	case wire.KeeperExit:
		answer, err = s.exit(r.Name, r.Data)
	default:
		err = fmt.Errorf("internal: unchecked message of kind %d", r.Kind)
	}
	if err != nil {
		answer = wire.KeeperMessage{Kind: wire.KeeperRefused, Data: []byte(err.Error())}
	}
	answer.ID = r.ID
	return answer
}

func (s *Session) keep(r wire.KeeperMessage) (wire.KeeperMessage, error) {
	e := &entry{name: r.Name, data: bytes.Clone(r.Data), files: r.Files, process: findProcess(r.Files)}
	old, err := s.tryKeep(r, e)
	if err != nil {
		wire.CloseFiles(r.Files)
		return wire.KeeperMessage{}, err
	}
	wire.CloseFiles(old.files)
	return wire.KeeperMessage{Kind: wire.KeeperDone}, nil
}

func (s *Session) tryKeep(r wire.KeeperMessage, e *entry) (old *entry, err error) {
	if err := wire.CheckKept(r.Name, r.Data, len(r.Files)); err != nil {
		return nil, err
	}
	if r.FilesLost {
		return nil, errors.New("the host has no descriptors left (ulimit -n)")
	}
	if stopped := s.store.keeper.do(func() { old, err = s.store.keep(e, s) }); stopped != nil {
		return nil, stopped
	}
	return old, err
}

func (s *Session) keepData(r wire.KeeperMessage) (answer wire.KeeperMessage, err error) {
	if err := wire.CheckKept(r.Name, r.Data, 0); err != nil {
		return answer, err
	}
	data := bytes.Clone(r.Data)
	stopped := s.store.keeper.do(func() { err = s.store.keepData(r.Name, data) })
	return wire.KeeperMessage{Kind: wire.KeeperDone}, errors.Join(stopped, err)
}

func (s *Session) forget(name string) (answer wire.KeeperMessage, err error) {
	var old *entry
	if err := s.store.keeper.do(func() { old = s.store.forget(name) }); err != nil {
		return answer, err
	}
	if old != nil {
		wire.CloseFiles(old.files)
	}
	return wire.KeeperMessage{Kind: wire.KeeperDone}, nil
}

// next answers with the entry that follows a name. Who asks for the first one
// takes over: predecessors that have ended come to rest before, so that no
// process runs beside the one that replaces it.
func (s *Session) next(ctx context.Context, after string) (answer wire.KeeperMessage, err error) {
	k := s.store.keeper
	if after == "" {
		// Not for what hangs in the kernel, and not for each other when dead.
		k.await(killTime, ctx.Done(), func() bool { return s.dead || s.store.isSettled() })
	}
	stopped := k.do(func() {
		i, found := s.store.find(after)
		if found {
			i++
		}
		if i == len(s.store.entries) {
			answer.Kind = wire.KeeperEnd
			return
		}
		e := s.store.entries[i]
		answer = wire.KeeperMessage{Kind: wire.KeeperEntry, Name: e.name, Data: e.data}
		answer.Files, err = duplicates(e.files)
	})
	return answer, errors.Join(stopped, err)
}

// exit answers how a kept process has ended.
func (s *Session) exit(name string, serial []byte) (answer wire.KeeperMessage, err error) {
	k := s.store.keeper
	stopped := k.do(func() {
		k.reapKept()
		i, found := s.store.find(name)
		if !found {
			err = errNotKept
			return
		}
		answer, err = exitOf(s.store.entries[i].process, serial)
	})
	return answer, errors.Join(stopped, err)
}

func exitOf(p *process, serial []byte) (answer wire.KeeperMessage, err error) {
	if p == nil {
		return answer, errors.New("no pidfd is kept under this name")
	}
	id := binary.BigEndian.AppendUint64(nil, p.serial)
	if len(serial) > 0 && !slices.Equal(serial, id) {
		return answer, errors.New("another process is kept under this name by now")
	}
	if !p.ended && !p.lost && !isReaped(p.pidfd) {
		answer = wire.KeeperMessage{Kind: wire.KeeperRunning, Data: id}
		answer.Files, err = duplicates([]int{p.pidfd})
		return answer, err
	}
	if !p.ended {
		status, ok := kernelExit(p.pidfd)
		if !ok {
			return answer, errors.New("its parent has waited for it, and only Linux 6.15 and later tells others how a process ended")
		}
		p.ended, p.status, p.at = true, status, time.Now()
	}
	exit := wire.KeptExit{Status: syscall.WaitStatus(p.status), At: p.at}
	return wire.KeeperMessage{Kind: wire.KeeperExited, Data: wire.AppendKeptExit(nil, exit)}, nil
}

// duplicates are descriptors for the same files, to be closed by the caller.
func duplicates(files []int) (copies []int, err error) {
	for _, fd := range files {
		duplicate, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			wire.CloseFiles(copies)
			return nil, fmt.Errorf("the host has no descriptors left (ulimit -n): %w", err)
		}
		copies = append(copies, duplicate)
	}
	return copies, nil
}
