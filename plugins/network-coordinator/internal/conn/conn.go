// Package conn has the open connections of the coordinator: whichever door they
// were asked for through, they are opened by the same rules, within the same
// bounds, counted, listed and ended here.
package conn

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/relay"
	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/shape"
	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	"github.com/gaia-go/gaia/sdk/egress"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Reason is why a connection has ended, as metrics say it.
type Reason string

// The reasons.
const (
	Done       Reason = "done"        // both directions have ended
	Reset      Reason = "reset"       // one of the two ends broke it off
	Idle       Reason = "idle"        // nothing was carried for idle_timeout
	HalfClosed Reason = "half_closed" // nothing was carried for HalfCloseTimeout after one direction had ended
	Expired    Reason = "lifetime"    // it lived for lifetime
	Revoked    Reason = "revoked"     // the rules of a new config deny it
	Closed     Reason = "closed"      // by CloseConnection
	Shutdown   Reason = "shutdown"    // the coordinator ends
)

// Reasons returns all of them.
func Reasons() []Reason {
	return []Reason{Done, Reset, Idle, HalfClosed, Expired, Revoked, Closed, Shutdown}
}

// Conn is an open connection to a host. It belongs to whoever opened it, who
// closes it; others may end it before.
type Conn struct {
	Target egress.Target
	Addr   netip.Addr // connected to
	Door   networkv1.Door
	Rule   string // that allowed it
	Opened time.Time

	table          *Table
	id             uint64
	host           *net.TCPConn
	sent, received atomic.Uint64
	half           atomic.Bool // one direction has ended
	flow           *shape.Flow
	leave          func()          // of admission
	life           context.Context //nolint:containedctx // of the connection; a meter waits within it
	cancel         context.CancelFunc

	mu     sync.Mutex
	client net.Conn // ends with this; nil where there is none
	ended  Reason

	// The sweeper's: when the bytes were last seen to have changed.
	carried uint64
	since   time.Time
	probed  bool // the host is asked now and then whether it is there
}

// Attach makes client end with the connection; nil lets go of it. It reports
// false if the connection has ended.
func (c *Conn) Attach(client net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.client = client
	return c.ended == ""
}

// End ends the connection for its owner, whose reads and writes fail from now on.
// The first reason counts; all but Done break the connection off, so that nobody
// takes what it got for the whole. It reports whether this call ended it.
func (c *Conn) End(why Reason) bool {
	c.mu.Lock()
	if c.ended != "" {
		c.mu.Unlock()
		return false
	}
	c.ended = why
	client := c.client
	c.mu.Unlock()
	c.table.remove(c, why) // before its ends can know, who would look for it in vain
	if why != Done {
		Abort(c.host)
		if client != nil {
			Abort(client)
		}
	}
	_ = c.host.Close()
	c.cancel()
	c.leave()
	return true
}

// Close ends the connection, unless it has ended, and frees what it holds. It is
// called once, when no Read, Write or Tunnel is under way any more.
func (c *Conn) Close(why Reason) {
	c.End(why)
	c.flow.Leave()
}

// Ended returns why the connection has ended, "" if it has not.
func (c *Conn) Ended() Reason {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// Gone is closed when the connection has ended.
func (c *Conn) Gone() <-chan struct{} { return c.life.Done() }

// Abort closes a connection in a way that its peer takes for no regular end.
func Abort(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// Read reads what comes from the host. It returns once the bounds of bandwidth
// allow what it has read: to ask before would hold a share of them while nothing
// comes.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.host.Read(p)
	c.received.Add(uint64(n)) //nolint:gosec // a count of bytes is not negative
	if fault := c.flow.Down.Pay(c.life, n); fault != nil {
		return 0, fault
	}
	return n, err
}

// Write sends to the host, within the bounds of bandwidth.
func (c *Conn) Write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		granted, err := c.flow.Up.Take(c.life, len(p)-written)
		if err != nil {
			return written, err
		}
		n, err := c.host.Write(p[written : written+granted])
		c.sent.Add(uint64(n)) //nolint:gosec // a count of bytes is not negative
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// CloseWrite tells the host that nothing more comes.
func (c *Conn) CloseWrite() error {
	c.half.Store(true)
	return c.host.CloseWrite()
}

// ClientEnded notes that the client sends nothing more.
func (c *Conn) ClientEnded() { c.half.Store(true) }

// SetReadDeadline bounds the next reads; the zero time does not.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.host.SetReadDeadline(t) }

// Alive reports whether the host has neither ended the connection nor sent what
// nobody asked for.
func (c *Conn) Alive() bool {
	return c.Ended() == "" && relay.Quiet(c.host)
}

// Tunnel carries bytes between the client and the host until both directions
// have ended or the connection has, and closes it.
func (c *Conn) Tunnel(client *net.TCPConn) {
	if !c.Attach(client) {
		Abort(client)
		c.Close(Reset)
		return
	}
	var other sync.WaitGroup
	other.Go(func() { c.carry(relay.Direction{From: client, To: c.host, Count: &c.sent, Meter: c.flow.Up}) })
	c.carry(relay.Direction{From: c.host, To: client, Count: &c.received, Meter: c.flow.Down})
	other.Wait()
	c.Close(Done)
}

// carry carries bytes one way, and tells the other side of the end.
func (c *Conn) carry(d relay.Direction) {
	err := c.table.relay.Move(c.life, d)
	if err == nil && !c.half.Swap(true) { // after the second direction both are closed anyway
		err = d.To.CloseWrite()
	}
	if err != nil {
		c.End(Reset)
	}
}

// describe returns the connection as the API shows it, at a time.
func (c *Conn) describe(now time.Time, since time.Time) *networkv1.Connection {
	return &networkv1.Connection{
		Id:         c.ID(),
		Client:     c.Target.Client,
		Host:       c.Target.Host.String(),
		Port:       uint32(c.Target.Port),
		Address:    c.Addr.String(),
		By:         c.Door,
		Opened:     timestamppb.New(c.Opened),
		Sent:       c.sent.Load(),
		Received:   c.received.Load(),
		Idle:       durationpb.New(max(now.Sub(since), 0)),
		Rule:       c.Rule,
		HalfClosed: c.half.Load(),
	}
}

// Describe returns the connection as the API shows it.
func (c *Conn) Describe() *networkv1.Connection { return c.describe(c.Opened, c.Opened) }

// ID names the connection; it is not used again in the life of its table.
func (c *Conn) ID() string { return strconv.FormatUint(c.id, 10) }

// Local is the address from which the connection was made.
func (c *Conn) Local() netip.AddrPort {
	at, _ := netip.ParseAddrPort(c.host.LocalAddr().String())
	return at
}
