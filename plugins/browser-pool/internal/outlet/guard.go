package outlet

import (
	"context"
	"fmt"
	"net"
	"os"
)

// guarded accepts the connections of this process's user alone: the ports on
// loopback are open to all users of the machine, and what is behind them is for
// browsers.
type guarded struct{ net.Listener }

// Accept waits for one. Others are closed without a word.
func (g guarded) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if own, isTCP := conn.(*net.TCPConn); isTCP {
			if uid, err := peer(own); err == nil && uid == os.Geteuid() {
				return conn, nil
			}
		}
		_ = conn.Close()
	}
}

// Guard has outlets that are opened from now on refuse connections of other users
// of this machine. The error says why that is not possible here; outlets are then
// open to all of them.
func (r *Rules) Guard(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("way out for pages: %w", err)
	}
	defer func() { _ = listener.Close() }()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp4", listener.Addr().String())
	if err != nil {
		return fmt.Errorf("way out for pages: %w", err)
	}
	defer func() { _ = conn.Close() }()
	accepted, err := listener.Accept() // it is there
	if err != nil {
		return fmt.Errorf("way out for pages: %w", err)
	}
	defer func() { _ = accepted.Close() }()
	uid, err := peer(accepted.(*net.TCPConn)) // it listens on TCP
	if err == nil && uid != os.Geteuid() {
		err = fmt.Errorf("owner of a connection: it is user %d, and not %d", uid, os.Geteuid())
	}
	r.guarded = err == nil
	return err
}
