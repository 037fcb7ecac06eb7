package proxy

import (
	"bufio"
	"net"
	"testing"
)

func TestAClientThatGoesDoesNotHoldAHostThatLetsWait(t *testing.T) {
	for name, read := range map[string]bool{"before the response": false, "within the response": true} {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			never := make(chan struct{})
			defer close(never)
			origin := serve(t, func(c *net.TCPConn) {
				_, _ = c.Read(make([]byte, 4096))
				if read {
					say(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
				}
				<-never
			})
			c := f.dial()
			say(c, "GET http://%[1]s/ HTTP/1.1\r\nHost: %[1]s\r\n\r\n", origin)
			f.list(1)
			if read {
				_, _ = c.Read(make([]byte, 10))
			}
			_ = c.SetLinger(0)
			c.Close()
			f.list(0)
		})
	}
}

func TestAClientThatOnlySendsNothingMoreGetsItsResponse(t *testing.T) {
	f := start(t)
	now := make(chan struct{})
	origin := serve(t, func(c *net.TCPConn) {
		_, _ = c.Read(make([]byte, 4096))
		<-now
		say(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	})
	c := f.dial()
	say(c, "GET http://%[1]s/ HTTP/1.1\r\nHost: %[1]s\r\n\r\n", origin)
	_ = c.CloseWrite()
	for !f.list(1)[0].GetHalfClosed() {
	}
	close(now)
	if status, _ := f.answer(bufio.NewReader(c)); status != 200 {
		t.Errorf("got %d, want 200", status)
	}
}
