package spawn

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// identity is who a process runs as.
type identity struct {
	uid, gid uint32
	groups   []uint32
}

// lookUp finds a user by name or number; nil is who we are.
func lookUp(name string) (*identity, error) {
	if name == "" {
		return nil, nil
	}
	u, err := user.Lookup(name)
	if _, unknown := errors.AsType[user.UnknownUserError](err); unknown {
		u, err = user.LookupId(name)
	}
	if err != nil {
		return nil, fmt.Errorf("spawn: user %q: not known to this system", name)
	}
	groups, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("spawn: user %q: groups: %w", name, err)
	}
	numbers := make([]uint32, 0, len(groups)+2)
	for _, text := range append([]string{u.Uid, u.Gid}, groups...) {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("spawn: user %q: number: %w", name, err)
		}
		numbers = append(numbers, uint32(n))
	}
	if int(numbers[0]) == os.Geteuid() {
		return nil, nil
	}
	return &identity{uid: numbers[0], gid: numbers[1], groups: numbers[2:]}, nil
}

func (i *identity) credential() *syscall.Credential {
	if i == nil {
		return nil
	}
	return &syscall.Credential{Uid: i.uid, Gid: i.gid, Groups: i.groups}
}
