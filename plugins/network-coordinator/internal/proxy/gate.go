package proxy

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"
)

// Gate says who may use the proxy. Nobody writes to it once a server has it.
type Gate struct {
	Clients        map[string]Token // by name
	Anonymous      bool             // whether those without a name may, too
	MaxConnections int
}

// Token is what is kept of a password: enough to know it when it is shown.
type Token [sha256.Size]byte

// NewToken returns the token of a password.
func NewToken(password string) Token { return sha256.Sum256([]byte(password)) }

// knows reports whether password is that of the client. It takes as long for one
// as for another, and for a name that does not exist.
func (g *Gate) knows(name, password string) bool {
	want, exists := g.Clients[name]
	shown := NewToken(password)
	return subtle.ConstantTimeCompare(want[:], shown[:]) == 1 && exists
}

// admit returns the client that the values of Proxy-Authorization name. Who shows
// a wrong password is nobody, even where those without a name may come in.
func (g *Gate) admit(credentials []string) (client string, ok bool) {
	if len(credentials) == 0 {
		return "", g.Anonymous
	}
	scheme, encoded, _ := strings.Cut(credentials[0], " ")
	plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil || len(credentials) > 1 || !strings.EqualFold(scheme, "Basic") {
		return "", false
	}
	name, password, found := strings.Cut(string(plain), ":")
	return name, found && g.knows(name, password)
}
