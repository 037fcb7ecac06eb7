package config

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// Bounds of a token. The lower one leaves a token of random letters at 75 bits;
// the upper one is far below what a header may hold.
const (
	minToken = 16
	maxToken = 4096
)

// Token is what is known of a client's bearer token: no more than its SHA-256,
// so that nothing that prints or dumps a config can tell the token. The zero
// Token is not set.
type Token struct {
	sum [sha256.Size]byte
	set bool
}

// NewToken returns what is known of text.
func NewToken(text string) Token { return Token{sum: sha256.Sum256([]byte(text)), set: true} }

// Sum is the SHA-256 of the token.
func (t Token) Sum() [sha256.Size]byte { return t.sum }

// IsSet reports whether there is a token.
func (t Token) IsSet() bool { return t.set }

// String says whether there is a token, and no more.
func (t Token) String() string {
	if t.set {
		return redacted
	}
	return ""
}

// GoString is String: %#v would show the sum.
func (t Token) GoString() string { return t.String() }

// tokenAt is a token that is written in the file or comes from the environment.
type tokenAt struct{ p *Token }

func (t tokenAt) set(v value) *hcl.Diagnostic {
	text, diag := v.text()
	if diag != nil {
		return diag
	}
	if summary, detail := checkToken(text); summary != "" {
		return v.fault(summary, detail, "")
	}
	*t.p = NewToken(text)
	return nil
}

func (t tokenAt) form() string    { return fmt.Sprintf("text, %d to %d characters", minToken, maxToken) }
func (t tokenAt) current() string { return "" }

// checkToken returns what is wrong with a token, without showing any of it.
func checkToken(text string) (summary, detail string) {
	const remedy = " `openssl rand -hex 32` makes a good one."
	for _, c := range []byte(text) {
		if c <= ' ' || c > '~' {
			return "Invalid token", "A token is of visible ASCII characters without spaces: it travels in a header." + remedy
		}
	}
	switch {
	case len(text) < minToken:
		return "Token too short", fmt.Sprintf("A token has at least %d characters, so that nobody guesses it; this one has %d.", minToken, len(text)) + remedy
	case len(text) > maxToken:
		return "Token too long", fmt.Sprintf("A token has at most %d characters; this one has %d.", maxToken, len(text)) + remedy
	}
	return "", ""
}

// readToken reads the token in a file, which at names.
func readToken(path string, at hcl.Range) (Token, hcl.Diagnostics) {
	content, err := readBounded(path)
	if err != nil {
		return Token{}, hcl.Diagnostics{fault(at, "File not readable",
			fmt.Sprintf("The token in %s cannot be read: %s. The path is relative to the folder of the config file.", path, reason(err)))}
	}
	text := strings.TrimRight(string(content), "\r\n")
	if summary, detail := checkToken(text); summary != "" {
		return Token{}, hcl.Diagnostics{fault(at, summary, fmt.Sprintf("In %s: %s", path, detail))}
	}
	var diags hcl.Diagnostics
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o004 != 0 {
		diags = append(diags, warning(at, "Token that everybody can read",
			fmt.Sprintf("Every user of this machine can read %s. Run chmod 600 on it.", path)))
	}
	return NewToken(text), diags
}
