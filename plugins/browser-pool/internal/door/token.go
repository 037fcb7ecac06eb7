package door

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
)

// minToken is how long a token is at least, in bytes: what can be guessed is no
// token.
const minToken = 16

// Token is the one that is configured, or the one of a file, which is made when
// it is not there. The error does not show it.
func Token(token, file string) (string, error) {
	if token == "" && file == "" {
		return "", errors.New("a door needs a token: set token or token_file")
	}
	if token == "" {
		var err error
		if token, err = tokenOf(file); err != nil {
			return "", err
		}
	}
	switch {
	case len(token) < minToken:
		return "", fmt.Errorf("the token has %d characters, and needs %d", len(token), minToken)
	case strings.Trim(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~") != "":
		return "", errors.New("the token is part of URLs: it has letters, digits and -._~ only")
	}
	return token, nil
}

func tokenOf(file string) (string, error) {
	made := rand.Text()
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // G304: the operator's path
	if err == nil {
		_, err = f.WriteString(made + "\n")
		return made, errors.Join(err, f.Close())
	}
	if !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s may be read by others: chmod 600 it", file)
	}
	text, err := os.ReadFile(file) //nolint:gosec // G304: the operator's path
	return strings.TrimSpace(string(text)), err
}

// admit reports whether a request shows the token, and returns its path without
// it.
func (d *Door) admit(r *http.Request) (string, bool) {
	path := r.URL.Path
	first, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	inPath := d.is(first)
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	isShown := d.is(bearer) || d.is(r.URL.Query().Get("token"))
	if inPath {
		path = "/" + rest
	}
	return path, inPath || isShown
}

// is compares in a time that says nothing about the token, nor its length.
func (d *Door) is(shown string) bool {
	got, want := sha256.Sum256([]byte(shown)), sha256.Sum256([]byte(d.Token))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
}
