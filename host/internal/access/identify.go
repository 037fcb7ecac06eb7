package access

import (
	"context"
	"crypto/x509"
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxCredentials bounds what is looked at of an authorization header.
const maxCredentials = 8 << 10

// Visit is a call of which nobody knows yet who makes it.
type Visit struct {
	Door        string
	Peer        string            // the address that it came from
	Method      string            // "/pkg.Service/Method", or the path of a request
	Credentials []string          // the values of authorization
	Certificate *x509.Certificate // verified; nil: there is none
}

// Identify says on whose behalf a call is made; nil for the operator, who comes
// to the socket without a token. Of who has both, the token counts. A token that
// is wrong is an error, never a reason to go on without it. The error is a gRPC
// status, Unauthenticated; it is counted and written down.
func (c *Clients) Identify(v *Visit) (*Caller, error) {
	client, err := c.identify(v)
	if err != nil {
		c.metrics.Unauthenticated(v.Door)
		c.audit.addUnauthenticated(v)
		return nil, err
	}
	if client == nil {
		return nil, nil
	}
	return &Caller{Client: client, Door: v.Door, Peer: v.Peer}, nil
}

func (c *Clients) identify(v *Visit) (*Client, error) {
	const remedy = "send the metadata or header \"authorization\" with \"Bearer \" and the token of a client block, or that in the file token beside the host's socket"
	switch {
	case v.Door == DoorTCP && v.Certificate == nil:
		return nil, status.Error(codes.Unauthenticated, "the certificate of this connection has expired, or is not one that the authorities in host.tls.client_ca have signed")
	case len(v.Credentials) > 1:
		return nil, status.Error(codes.Unauthenticated, "authorization is given more than once; "+remedy)
	case len(v.Credentials) == 1:
		token, ok := bearer(v.Credentials[0])
		if !ok {
			return nil, status.Error(codes.Unauthenticated, "authorization is not a bearer token; "+remedy)
		}
		if client := c.byToken(token); client != nil {
			return client, nil
		}
		return nil, status.Error(codes.Unauthenticated, "nobody has this token; "+remedy)
	case v.Certificate != nil:
		return c.byCertificate(v.Certificate)
	case v.Door == DoorGRPC || v.Door == DoorLink:
		return nil, nil // only the host's own user can open the socket
	default:
		return nil, status.Error(codes.Unauthenticated, "no credentials; "+remedy)
	}
}

// bearer reads the token of an authorization header (RFC 6750, section 2.1).
func bearer(credentials string) (token string, ok bool) {
	if len(credentials) > maxCredentials {
		return "", false
	}
	scheme, token, _ := strings.Cut(credentials, " ")
	token = strings.TrimSpace(token)
	return token, strings.EqualFold(scheme, "bearer") && token != ""
}

// Authenticate says on whose behalf a request is made that came by the HTTP
// door: the context is the request's, with the caller. The error is as that of
// Identify.
func (c *Clients) Authenticate(r *http.Request) (context.Context, error) {
	caller, err := c.Identify(&Visit{
		Door: DoorHTTP, Peer: r.RemoteAddr, Method: r.URL.Path, Credentials: r.Header.Values("Authorization"),
	})
	if err != nil {
		return nil, err
	}
	return With(r.Context(), caller), nil
}
