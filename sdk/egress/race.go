package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"
)

// headStart is what an attempt has before the next begins beside it, RFC 8305,
// section 5.
const headStart = 250 * time.Millisecond

// attempt is how one has ended.
type attempt struct {
	conn net.Conn
	err  error
}

// race connects to the addresses, in their order: the next attempt begins when
// one fails, or when the last has had its head start. The first connection
// wins. When race returns, all other attempts have ended and their connections
// are closed; connect returns soon when its context ends.
func race(ctx context.Context, addrs []netip.Addr, connect func(context.Context, netip.Addr) (net.Conn, error)) (net.Conn, error) {
	if len(addrs) == 1 {
		return connect(ctx, addrs[0])
	}
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan attempt)
	started, open := 0, 0
	start := func() {
		if started == len(addrs) || running.Err() != nil {
			return
		}
		addr := addrs[started]
		started++
		open++
		go func() {
			conn, err := connect(running, addr)
			ended <- attempt{conn, err}
		}()
	}
	wait := time.NewTimer(headStart)
	defer wait.Stop()

	var won net.Conn
	var errs []error
	for start(); open > 0; {
		select {
		case <-wait.C:
		case a := <-ended:
			open--
			switch {
			case a.err != nil:
				errs = append(errs, a.err)
			case won == nil:
				won = a.conn
				cancel()
			default:
				_ = a.conn.Close()
			}
		}
		start()
		wait.Reset(headStart)
	}
	if won != nil {
		return won, nil
	}
	if len(errs) == 0 {
		errs = []error{context.Cause(ctx)}
	}
	return nil, errors.Join(errs...)
}
