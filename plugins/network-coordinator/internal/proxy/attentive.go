package proxy

import (
	"net"
	"time"

	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/conn"
	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/relay"
)

// lookTime is how often the client of a host that lets wait is looked after.
const lookTime = time.Second

// attentive reads from a host and sees whether the client is still there, which
// nobody reads from meanwhile: who has gone would hold a connection until
// idle_timeout. One that only sends nothing more may have said all that it
// wanted, and is given the time that a tunnel with one direction has.
type attentive struct {
	host   *conn.Conn
	client *net.TCPConn
}

func (a attentive) Read(p []byte) (int, error) {
	for {
		n, err := a.host.Read(p)
		if n > 0 || !timedOut(err) {
			return n, err
		}
		switch relay.StateOf(a.client) {
		case relay.Broken:
			a.host.End(conn.Reset)
			return 0, err
		case relay.Ended:
			a.host.ClientEnded()
		case relay.There:
		}
		if err := a.host.SetReadDeadline(time.Now().Add(lookTime)); err != nil {
			return 0, err
		}
	}
}
