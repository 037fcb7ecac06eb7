package scaffold

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// FindCheckout returns the checkout of gaia in which a program lies, which is
// where `make build` puts it; "" when it lies in none.
func FindCheckout(program string) string {
	program, err := filepath.EvalSymlinks(program)
	if err != nil {
		return ""
	}
	for dir := filepath.Dir(program); ; dir = filepath.Dir(dir) {
		if isCheckout(dir) {
			return dir
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
	}
}

// CheckCheckout returns the absolute path of a checkout that somebody named.
func CheckCheckout(dir string) (string, error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if !isCheckout(absolute) {
		return "", fmt.Errorf("%s is no checkout of gaia: it has no sdk/go.mod and proto/go.mod of github.com/gaia-go/gaia", dir)
	}
	return absolute, nil
}

func isCheckout(dir string) bool {
	for _, module := range []string{"sdk", "proto"} {
		content, err := os.ReadFile(filepath.Join(dir, module, "go.mod")) //nolint:gosec // G304: the user's own folders
		if err != nil || !bytes.HasPrefix(content, []byte("module github.com/gaia-go/gaia/"+module+"\n")) {
			return false
		}
	}
	return true
}
