package gateway

import (
	"context"
	"errors"
	"net"

	"google.golang.org/grpc/credentials"
)

// doorCredentials tell apart who came by which listener of the gRPC server. The
// handshakes of TLS are over when a connection comes here: see tcpDoor.
type doorCredentials struct{}

// ServerHandshake implements credentials.TransportCredentials.
func (doorCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	switch conn := conn.(type) {
	case *net.UnixConn:
		return conn, socketInfo{}, nil
	case *tcpConn:
		return conn, credentials.TLSInfo{
			State:          conn.ConnectionState(),
			CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
		}, nil
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
