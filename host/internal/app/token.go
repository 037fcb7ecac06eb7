package app

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
)

// writeToken makes the bearer token of this run and leaves it beside the
// socket for the owner to read.
func writeToken(socket string) (token, path string, err error) {
	token = rand.Text()
	path = filepath.Join(filepath.Dir(socket), "token")
	temp := path + ".new"
	if err := os.WriteFile(temp, []byte(token+"\n"), 0o600); err != nil {
		return "", "", fmt.Errorf("write token: %w", err)
	}
	return token, path, os.Rename(temp, path)
}
