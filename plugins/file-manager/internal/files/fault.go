package files

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	"github.com/gaia-go/gaia/plugins/file-manager/internal/lease"
	"github.com/gaia-go/gaia/plugins/file-manager/internal/quota"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// failf is the error of a call about a path of the root. The path is the caller's
// own, never one of this machine.
func (t *tree) failf(code codes.Code, path, format string, args ...any) error {
	return status.Errorf(code, "%s %.200q: "+format, append([]any{t.settings.name, path}, args...)...)
}

func (t *tree) notThere(path string) error {
	return t.failf(codes.NotFound, path, "does not exist")
}

func (t *tree) forbidden(path string) error {
	return t.failf(codes.PermissionDenied, path, "the configuration of the root keeps this path from being used")
}

// wantFile is the error if info is not that of a regular file.
func (t *tree) wantFile(path string, info jail.Info) error {
	switch {
	case info.IsFile():
		return nil
	case info.IsDir():
		return t.failf(codes.FailedPrecondition, path, "is a directory, a file is wanted")
	case info.IsLink():
		return t.explain(path, jail.ErrMoving)
	}
	return t.failf(codes.FailedPrecondition, path, "is a device, socket or FIFO, which is never opened")
}

// explain makes err the error of a call. It is the only place that knows what the
// system's errors mean.
func (t *tree) explain(path string, err error) error {
	if err == nil {
		return nil
	}
	if known, ok := errors.AsType[statusError](err); ok { // perhaps joined with others, which would spoil its text
		return known.GRPCStatus().Err()
	}
	if rule, ok := errors.AsType[*jail.PathError](err); ok {
		return status.Error(codes.InvalidArgument, rule.Error())
	}
	if exceeded, ok := errors.AsType[*quota.Exceeded](err); ok {
		return t.failf(codes.ResourceExhausted, path, "%v; remove files%s, or ask the operator for more", exceeded, t.emptyTrashHint())
	}
	if held, ok := errors.AsType[*lease.Held](err); ok {
		return t.failf(codes.FailedPrecondition, path, "%v; wait, or show its token", held)
	}
	if errors.Is(err, lease.ErrNotHeld) {
		return t.failf(codes.FailedPrecondition, path, "there is no lock with this token here; it may have expired: lock it anew, and read it again")
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return status.FromContextError(err).Err()
	}
	code, text := reason(err)
	if code == codes.NotFound || code == codes.Unavailable {
		if !t.isAt(t.settings.path) {
			t.root.recheck()
			return t.vanished()
		}
		if !t.keepsState() {
			t.root.recheck()
			return status.Errorf(codes.Unavailable, "root %q cannot be changed: somebody has removed its directory %s; try again", t.settings.name, stateDir)
		}
	}
	return t.failf(code, path, "%s", text)
}

// statusError is an error that is a status.
type statusError interface {
	error
	GRPCStatus() *status.Status
}

func (t *tree) vanished() error {
	return status.Errorf(codes.Unavailable, "root %q cannot be used: its directory is not there", t.settings.name)
}

func (t *tree) emptyTrashHint() string {
	if t.settings.trash > 0 {
		return " and empty the trash"
	}
	return ""
}

// reason is the code and the words for an error of the jail or of the system.
func reason(err error) (codes.Code, string) {
	for _, k := range known() {
		if errors.Is(err, k.err) {
			return k.code, k.text
		}
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return codes.Internal, "the system says: " + errno.Error()
	}
	return codes.Internal, err.Error()
}

type meaning struct {
	err  error
	code codes.Code
	text string
}

func known() []meaning {
	return []meaning{
		{jail.ErrEscape, codes.PermissionDenied, jail.ErrEscape.Error()},
		{jail.ErrDangling, codes.NotFound, jail.ErrDangling.Error()},
		{jail.ErrLoop, codes.FailedPrecondition, jail.ErrLoop.Error()},
		{jail.ErrMoving, codes.Aborted, jail.ErrMoving.Error() + "; try again"},
		{errBusy, codes.Unavailable, errBusy.Error()},
		{unix.ENOENT, codes.NotFound, "does not exist"},
		{unix.ENOTDIR, codes.FailedPrecondition, "a part of the path is a file, where a directory is wanted"},
		{unix.EISDIR, codes.FailedPrecondition, "is a directory, a file is wanted"},
		{unix.ENXIO, codes.FailedPrecondition, "is a device, socket or FIFO, which is never opened"},
		{unix.EEXIST, codes.AlreadyExists, "something is there already"},
		{unix.ENOTEMPTY, codes.FailedPrecondition, "the directory is not empty; set recursive to remove what is in it"},
		{unix.EACCES, codes.PermissionDenied, "the system's permissions do not allow it"},
		{unix.EPERM, codes.PermissionDenied, "the system does not allow it; the file may be immutable"},
		{fs.ErrPermission, codes.PermissionDenied, "the system's permissions do not allow it"},
		{unix.EROFS, codes.PermissionDenied, "the file system is read-only"},
		{unix.ENOSPC, codes.ResourceExhausted, "the disk is full; free some space"},
		{unix.EDQUOT, codes.ResourceExhausted, "the quota of the system's user is used up"},
		{unix.EFBIG, codes.ResourceExhausted, "the file would be larger than the file system or the process's limit allows"},
		{unix.ENAMETOOLONG, codes.InvalidArgument, "a name is longer than the file system takes"},
		{unix.EINVAL, codes.InvalidArgument, "the file system does not take this name, or the directory would be moved into itself"},
		{unix.EILSEQ, codes.InvalidArgument, "the file system does not take this name: it is not well-formed UTF-8"},
		{unix.ELOOP, codes.Aborted, jail.ErrMoving.Error() + "; try again"},
		{unix.EMLINK, codes.ResourceExhausted, "the directory has as many entries as the file system allows"},
		{unix.ETXTBSY, codes.FailedPrecondition, "it is a program that runs"},
		{unix.EBUSY, codes.FailedPrecondition, "the system uses it, perhaps as a mount point"},
		{unix.EXDEV, codes.FailedPrecondition, "it lies on two file systems"},
		{unix.ESTALE, codes.Unavailable, "the network file system has lost it; try again"},
		{unix.EIO, codes.Unavailable, "the disk or the network file system has an input/output error"},
		{unix.EMFILE, codes.ResourceExhausted, "the process has as many open files as it may; raise open_files, or lower concurrency"},
		{unix.ENFILE, codes.ResourceExhausted, "the system has as many open files as it may"},
		{unix.ENOMEM, codes.ResourceExhausted, "the system has no memory left"},
	}
}
