package proxy

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/conn"
	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	"github.com/gaia-go/gaia/sdk/egress"
)

// connect answers a CONNECT. It reports whether another request may follow.
func (s *session) connect(ctx context.Context, client string, r request) bool {
	to, err := authority(client, r.target, 0)
	if err != nil {
		s.say(malformed(err))
		return false
	}
	if b, err := bodyOf(r.fields, r.minor, 0); err != nil || !b.empty() {
		s.say(malformed(errors.New("a CONNECT with a body")))
		return false
	}
	c, err := s.server.table.Open(ctx, networkv1.Door_CONNECT, to)
	if err != nil {
		s.say(refusal(err))
		return false
	}
	_ = s.client.SetWriteDeadline(time.Time{})
	if _, err := s.client.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil {
		c.Close(conn.Reset)
		return false
	}
	s.tunnel(c)
	return false
}

// authority reads "host:port". Without a port it is standard, unless that is 0.
func authority(client, text string, standard uint64) (egress.Target, error) {
	host, number, err := net.SplitHostPort(text)
	if err != nil && standard > 0 && !strings.HasSuffix(text, ":") {
		host, number, err = net.SplitHostPort(text + ":" + strconv.FormatUint(standard, 10))
	}
	if err != nil {
		return egress.Target{}, errors.New("the target is not HOST:PORT, with an IPv6 address in brackets")
	}
	if strings.Contains(host, ":") != strings.HasPrefix(text, "[") {
		return egress.Target{}, errors.New("an IPv6 address stands in brackets, and nothing else does")
	}
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return egress.Target{}, errors.New("the port is not 1 to 65535")
	}
	return target(client, host, port)
}
