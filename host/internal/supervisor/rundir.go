package supervisor

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// longestDir is the longest path of a directory for sockets: go-plugin adds up
// to 40 bytes to it, and a socket's path has less than 104 bytes on macOS.
const longestDir = 60

// SocketDir makes the directory for the sockets of a host's plugins, beside
// the host's own socket or, where that path is too long, in the directory for
// temporary files. Nobody else can enter it. What an earlier host left in it
// is removed; the caller makes sure that no other host uses the same socket.
func SocketDir(hostSocket string) (string, error) {
	dir := filepath.Join(filepath.Dir(hostSocket), "p")
	if len(dir) > longestDir {
		name := sha256.Sum256([]byte(hostSocket))
		dir = filepath.Join(os.TempDir(), fmt.Sprintf("gaia-%d-%s", os.Getuid(), hex.EncodeToString(name[:4])))
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", fmt.Errorf("remove what an earlier host left: %w", err)
	}
	return dir, makePrivate(dir)
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
