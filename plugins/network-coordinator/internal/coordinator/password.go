package coordinator

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	"github.com/gaia-go/gaia/sdk"
)

// maxPassword is what SOCKS5 can carry (RFC 1929).
const maxPassword = 255

// passwordOf returns a client's password; path is of its block.
func passwordOf(client *networkv1.Client, path string) (string, error) {
	file := client.GetTokenFile()
	switch {
	case client.GetToken() != "" && file != "":
		return "", sdk.Invalid(path+".token_file", "there is a token already; write one of the two")
	case file != "":
		password, err := readPassword(file)
		if errors.Is(err, fs.ErrNotExist) {
			password, err = makePassword(file)
		}
		if err != nil {
			return "", sdk.Invalid(path+".token_file", "%v", err)
		}
		return password, nil
	case client.GetToken() == "":
		return "", sdk.Invalid(path, "the client has no password; write token_file = \"run/NAME.token\", which is made if it does not exist, or token = env(\"NAME\")")
	}
	return client.GetToken(), nil
}

// readPassword reads a file that nobody but its owner may read. Its errors name
// the file and never what is in it.
func readPassword(name string) (string, error) {
	// A FIFO would wait for its writer.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) //nolint:gosec // the operator names it
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file", name)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return "", fmt.Errorf("%s may be used by others than its owner (mode %04o); chmod 600 it", name, mode)
	}
	content, err := io.ReadAll(io.LimitReader(f, maxPassword+2))
	if err != nil {
		return "", err
	}
	password := strings.TrimRight(string(content), "\r\n")
	if password == "" || len(password) > maxPassword || strings.ContainsAny(password, "\r\n\x00") {
		return "", fmt.Errorf("%s has not one line of 1 to %d bytes; remove it, and a new one is made", name, maxPassword)
	}
	return password, nil
}

// makePassword makes a file with a random password of 256 bits. It is there as a
// whole or not at all; of two who make it at once both get the same.
func makePassword(name string) (string, error) {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // it never fails
	password := base64.RawURLEncoding.EncodeToString(secret)
	draft, err := os.CreateTemp(filepath.Dir(name), ".token-*") // mode 0600
	if err != nil {
		return "", fmt.Errorf("%s does not exist and cannot be made: %w", name, errors.Unwrap(err))
	}
	defer func() { _ = os.Remove(draft.Name()) }()
	_, err = draft.WriteString(password + "\n")
	if err == nil {
		err = draft.Sync()
	}
	if err = errors.Join(err, draft.Close()); err != nil {
		return "", err
	}
	if err := os.Link(draft.Name(), name); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return readPassword(name)
}
