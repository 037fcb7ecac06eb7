package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
)

// BenchmarkTunnels opens tunnels, sends a byte, gets it back, and closes.
func BenchmarkTunnels(b *testing.B) {
	f := start(b)
	origin := echo(b)
	b.SetParallelism(16)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		one := make([]byte, 1)
		for pb.Next() {
			c := f.connect(origin)
			if _, err := c.Write(one); err != nil {
				b.Error(err)
			}
			if _, err := io.ReadFull(c, one); err != nil {
				b.Error(err)
			}
			_ = c.SetLinger(0)
			_ = c.Close()
		}
	})
}

// connect opens a tunnel.
func (f *fixture) connect(to string) *net.TCPConn {
	f.t.Helper()
	c := f.dial()
	say(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", to, to)
	response, err := http.ReadResponse(bufio.NewReaderSize(c, 512), nil)
	if err != nil {
		f.t.Fatal(err)
	}
	defer response.Body.Close() // it has none, and c is not closed
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(response.Body)
		f.t.Fatalf("CONNECT: %s: %s", response.Status, body)
	}
	return c
}

// echo is a server that sends back what it gets, and the end, too.
func echo(t testing.TB) string {
	t.Helper()
	return serve(t, func(c *net.TCPConn) {
		_, _ = io.Copy(c, c)
		_ = c.CloseWrite()
	})
}
