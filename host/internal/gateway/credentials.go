package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"
)

// socketInfo is the AuthInfo of who came by the host's socket, which only the
// host's own user can open.
type socketInfo struct{}

// AuthType implements credentials.AuthInfo.
func (socketInfo) AuthType() string { return "socket" }

// tcpInfo is the AuthInfo of who came by TCP.
type tcpInfo struct {
	credentials.CommonAuthInfo

	chain    []*x509.Certificate        // that the peer has shown, its own first
	accepted atomic.Pointer[tls.Config] // by whose authorities it was accepted last
}

func newTCPInfo(conn *tcpConn) *tcpInfo {
	i := &tcpInfo{
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
		chain:          conn.ConnectionState().PeerCertificates,
	}
	i.accepted.Store(conn.config)
	return i
}

// AuthType implements credentials.AuthInfo.
func (*tcpInfo) AuthType() string { return "tls" }

// certificate is the peer's own; nil if there is none that the authorities of
// config have signed, or its time is over. A connection may be older than they are,
// and live longer than it.
func (i *tcpInfo) certificate(config *tls.Config) *x509.Certificate {
	if len(i.chain) == 0 || config == nil || time.Now().After(i.chain[0].NotAfter) {
		return nil
	}
	if i.accepted.Load() == config {
		return i.chain[0]
	}
	between := x509.NewCertPool()
	for _, c := range i.chain[1:] {
		between.AddCert(c)
	}
	if _, err := i.chain[0].Verify(x509.VerifyOptions{
		Roots: config.ClientCAs, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}); err != nil {
		return nil
	}
	i.accepted.Store(config)
	return i.chain[0]
}

// doorCredentials tell apart who came by which listener of the gRPC server. The
// handshakes of TLS are over when a connection comes here: see tcpDoor.
type doorCredentials struct{}

// ServerHandshake implements credentials.TransportCredentials.
func (doorCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	switch conn := conn.(type) {
	case *net.UnixConn:
		return conn, socketInfo{}, nil
	case *tcpConn:
		return conn, newTCPInfo(conn), nil
	}
	return nil, nil, errors.New("internal: a connection of no known door")
}

// ClientHandshake implements credentials.TransportCredentials.
func (doorCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("internal: these are a server's credentials")
}

// Info implements credentials.TransportCredentials.
func (doorCredentials) Info() credentials.ProtocolInfo { return credentials.ProtocolInfo{} }

// Clone implements credentials.TransportCredentials.
func (d doorCredentials) Clone() credentials.TransportCredentials { return d }

// OverrideServerName implements credentials.TransportCredentials.
func (doorCredentials) OverrideServerName(string) error { return nil }
