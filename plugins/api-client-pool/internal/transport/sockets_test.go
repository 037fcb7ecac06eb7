package transport

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/gaia-go/gaia/sdk/egress"
)

func TestADialRefusedByAClosedPoolIsAnError(t *testing.T) {
	s := newSockets(Options{ConnectTimeout: time.Second, Dialer: &egress.Dialer{}})
	s.close()
	if conn, err := s.dial(context.WithoutCancel(t.Context()), "tcp", "127.0.0.1:1"); err == nil || conn != nil {
		t.Errorf("got %v, %v; want %v", conn, err, net.ErrClosed)
	}
}
