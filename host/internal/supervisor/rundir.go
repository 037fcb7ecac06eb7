package supervisor

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// longestDir is the longest path of a directory for sockets: go-plugin adds up
// to 40 bytes to it, and a socket's path has less than 104 bytes on macOS.
const longestDir = 60

// ours is what the names of plugins' own directories begin with.
const ours = "plugin-dir"

// SocketDir makes the directory for the sockets of a host's plugins, beside
// the host's own socket or, where that path is too long, in /tmp. Nobody else
// can enter it. What an earlier host left in it is removed; what no host has
// made is an error. The caller makes sure that no other host uses it.
func SocketDir(hostSocket string) (string, error) {
	dir := filepath.Join(filepath.Dir(hostSocket), "p")
	if len(dir) > longestDir {
		name := sha256.Sum256([]byte(hostSocket))
		dir = filepath.Join("/tmp", fmt.Sprintf("gaia-%d-%s", os.Getuid(), hex.EncodeToString(name[:4])))
	}
	return dir, errors.Join(RemoveSocketDir(dir), makePrivate(dir))
}

// RemoveSocketDir removes what SocketDir made, and nothing else.
func RemoveSocketDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), ours) {
			return fmt.Errorf("%s holds %q, which is not a plugin's; give the host's socket a directory of its own", dir, e.Name())
		}
	}
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return errors.Join(err, os.Remove(dir))
}

// makePrivate makes a directory for this user alone, or makes sure that it is
// one: somebody else may have put it there first.
func makePrivate(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(stat.Uid) != os.Getuid() || info.Mode().Perm() != 0o700 {
		return fmt.Errorf("%s is not a directory of this user's alone", dir)
	}
	return nil
}
