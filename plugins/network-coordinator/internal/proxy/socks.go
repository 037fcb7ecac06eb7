package proxy

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/conn"
	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	"github.com/gaia-go/gaia/sdk/egress"
)

// Numbers of RFC 1928 and RFC 1929.
const (
	socksVersion  = 5
	socksNoAuth   = 0
	socksPassword = 2
	socksNoMethod = 0xff

	passwordVersion = 1

	socksConnect = 1
	socksIPv4    = 1
	socksName    = 3
	socksIPv6    = 4

	socksOK           = 0
	socksFailure      = 1
	socksDenied       = 2
	socksNoNetwork    = 3
	socksNoHost       = 4
	socksRefused      = 5
	socksTimeout      = 6 // "TTL expired" is the nearest that there is
	socksNoCommand    = 7
	socksNoAddrFamily = 8
)

// socks answers a SOCKS5 client. All it says before it is connected has to come
// within the time for a head.
func (s *session) socks(ctx context.Context) {
	client, ok := s.socksGreeting()
	if !ok {
		return
	}
	to, code, err := s.socksRequest(client)
	if err != nil {
		return
	}
	s.phase.Store(busy)
	if code != socksOK {
		s.socksRefuse(code)
		return
	}
	c, err := s.server.table.Open(ctx, networkv1.Door_SOCKS5, to)
	if err != nil {
		s.socksRefuse(socksCode(err))
		return
	}
	if s.socksReply(socksOK, c.Local()) != nil {
		c.Close(conn.Reset)
		return
	}
	s.tunnel(c)
}

// socksGreeting agrees on a method and returns who the client is.
func (s *session) socksGreeting() (client string, ok bool) {
	var head [2]byte
	var methods [255]byte
	if s.in.full(head[:]) != nil || s.in.full(methods[:head[1]]) != nil {
		return "", false
	}
	gate := s.server.gate.Load()
	password, none := false, false
	for _, method := range methods[:head[1]] {
		password = password || method == socksPassword
		none = none || method == socksNoAuth
	}
	switch {
	case password && len(gate.Clients) > 0:
		return s.socksLogin(gate)
	case none && gate.Anonymous:
		return "", s.send(socksVersion, socksNoAuth) == nil
	}
	if s.send(socksVersion, socksNoMethod) == nil {
		s.linger()
	}
	return "", false
}

// socksLogin is RFC 1929.
func (s *session) socksLogin(gate *Gate) (client string, ok bool) {
	if s.send(socksVersion, socksPassword) != nil {
		return "", false
	}
	var head [2]byte
	var name, password [255]byte
	var length [1]byte
	if s.in.full(head[:]) != nil || head[0] != passwordVersion || s.in.full(name[:head[1]]) != nil ||
		s.in.full(length[:]) != nil || s.in.full(password[:length[0]]) != nil {
		return "", false
	}
	client = string(name[:head[1]])
	if !gate.knows(client, string(password[:length[0]])) {
		if s.send(passwordVersion, 1) == nil {
			s.linger()
		}
		return "", false
	}
	return client, s.send(passwordVersion, 0) == nil
}

// socksRequest reads what is asked for. code is not socksOK where it cannot be;
// err is of the connection.
func (s *session) socksRequest(client string) (to egress.Target, code byte, err error) {
	var head [4]byte
	if err := s.in.full(head[:]); err != nil {
		return to, 0, err
	}
	if head[0] != socksVersion {
		return to, 0, errors.New("another version in the request than in the greeting")
	}
	var host [257]byte // a length in front, a port behind
	var text string
	switch head[3] {
	case socksIPv4, socksIPv6:
		raw := host[:4]
		if head[3] == socksIPv6 {
			raw = host[:16]
		}
		if err := s.in.full(raw); err != nil {
			return to, 0, err
		}
		addr, _ := netip.AddrFromSlice(raw)
		text = addr.String()
	case socksName:
		if err := s.in.full(host[:1]); err != nil {
			return to, 0, err
		}
		name := host[1 : 1+int(host[0])]
		if err := s.in.full(name); err != nil {
			return to, 0, err
		}
		text = string(name)
	default:
		return to, socksNoAddrFamily, nil
	}
	if err := s.in.full(host[:2]); err != nil {
		return to, 0, err
	}
	if head[1] != socksConnect {
		return to, socksNoCommand, nil
	}
	to, err = target(client, text, uint64(binary.BigEndian.Uint16(host[:2])))
	if err != nil {
		return to, socksFailure, nil //nolint:nilerr // a name that is none is answered, not an error of the connection
	}
	return to, socksOK, nil
}

// socksRefuse says no.
func (s *session) socksRefuse(code byte) {
	if s.socksReply(code, netip.AddrPort{}) == nil {
		s.linger()
	}
}

// socksReply says what became of a request, with the address that is used.
func (s *session) socksReply(code byte, local netip.AddrPort) error {
	reply := []byte{socksVersion, code, 0, socksIPv4, 0, 0, 0, 0}
	if addr := local.Addr().Unmap(); addr.IsValid() {
		if addr.Is6() {
			reply[3] = socksIPv6
		}
		reply = append(reply[:4], addr.AsSlice()...)
	}
	return s.send(binary.BigEndian.AppendUint16(reply, local.Port())...)
}

func (s *session) send(message ...byte) error {
	_ = s.client.SetWriteDeadline(time.Now().Add(s.server.headTime))
	_, err := s.client.Write(message)
	_ = s.client.SetWriteDeadline(time.Time{})
	return err
}

// socksCode is what a client is told of an error of conn.Table.Open.
func socksCode(err error) byte {
	switch conn.KindOf(err) {
	case conn.Denied:
		return socksDenied
	case conn.NotFound, conn.Unresolved:
		return socksNoHost
	case conn.Unreachable:
		return socksNoNetwork
	case conn.Refused:
		return socksRefused
	case conn.TimedOut:
		return socksTimeout
	default:
		return socksFailure
	}
}
