package spawn

import (
	"fmt"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What Landlock may forbid (landlock(7)), and since which version of its ABI.
const (
	accessRead = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR

	accessWrite = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
		unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_SYM |
		unix.LANDLOCK_ACCESS_FS_REFER | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV

	// accessOfFiles are those that a rule about a file, not a directory, may have.
	accessOfFiles = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE |
		unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV

	abiRefer, abiTruncate, abiIoctl = 2, 3, 5
)

// since returns those rights that an ABI knows. Before ABI 2 nothing can be
// moved to another directory; before 3, a file that may be read only may be
// truncated; before 5, ioctl(2) of devices is free.
func since(abi int, access uint64) uint64 {
	if abi < abiRefer {
		access &^= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi < abiTruncate {
		access &^= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi < abiIoctl {
		access &^= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	return access
}

// rules are a Landlock ruleset; nil is none.
type rules struct{ fd int }

// newRules makes the rules of Read and Write.
func newRules(c Config) (_ *rules, err error) {
	if len(c.Read) == 0 && len(c.Write) == 0 {
		return nil, nil
	}
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return nil, fmt.Errorf("spawn: read and write cannot be restricted: the kernel has no Landlock, or it is switched off (lsm=): %w", errno)
	}
	var read, write uint64
	if len(c.Read) > 0 {
		read = since(int(abi), accessRead)
	}
	if len(c.Write) > 0 {
		write = since(int(abi), accessWrite)
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: read | write}
	// Only the first field: the others are of later ABIs.
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr.Handled_access_fs), 0) //nolint:gosec // G103: there is no wrapper
	if errno != 0 {
		return nil, fmt.Errorf("spawn: landlock: %w", os.NewSyscallError("landlock_create_ruleset", errno))
	}
	r := &rules{int(fd)}
	for _, allowed := range []struct {
		access uint64
		paths  []string
	}{{read, append(slices.Clone(c.Read), c.Path)}, {write, c.Write}} {
		for _, path := range allowed.paths {
			if allowed.access == 0 {
				continue
			}
			if err := r.allow(path, allowed.access); err != nil {
				r.close()
				return nil, fmt.Errorf("spawn: landlock: %q: %w", path, err)
			}
		}
	}
	return r, nil
}

// allow allows access to all below path.
func (r *rules) allow(path string, access uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	var info unix.Stat_t
	if err := unix.Fstat(fd, &info); err != nil {
		return err
	}
	if info.Mode&unix.S_IFMT != unix.S_IFDIR {
		access &= accessOfFiles
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}                                                                //nolint:gosec // G115: a descriptor
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(r.fd), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0) //nolint:gosec // G103: as above
	if errno != 0 {
		return os.NewSyscallError("landlock_add_rule", errno)
	}
	return nil
}

// enforce restricts the calling thread, and whatever is born of it, for ever.
func (r *rules) enforce() error {
	if r == nil {
		return nil
	}
	_, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(r.fd), 0, 0)
	switch errno {
	case 0:
		return nil
	case unix.EPERM:
		return fmt.Errorf("spawn: read and write can be restricted by root only where new privileges are allowed: %w", errno)
	case unix.E2BIG:
		return fmt.Errorf("spawn: read and write cannot be restricted: 16 rulesets are in force for this program already: %w", errno)
	default:
		return fmt.Errorf("spawn: landlock: %w", os.NewSyscallError("landlock_restrict_self", errno))
	}
}

func (r *rules) close() {
	if r != nil {
		_ = unix.Close(r.fd)
	}
}
