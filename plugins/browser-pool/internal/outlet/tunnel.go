package outlet

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
)

// tunnel answers CONNECT: TLS and WebSockets, which are passed on as they are. A
// connection that fails is one that the browser cannot make.
func (o *Outlet) tunnel(w http.ResponseWriter, request *http.Request) {
	o.mu.Lock()
	client, proxy := o.client, o.proxy
	o.mu.Unlock()
	far, err := o.dial(request.Context(), client, proxy, request.Host)
	if err != nil {
		o.failed(request.Host, err)
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	near, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = far.Close()
		return
	}
	if _, err = near.Write([]byte("HTTP/1.1 200 OK\r\n\r\n")); err == nil && buffered.Reader.Buffered() > 0 {
		_, err = io.CopyN(far, buffered, int64(buffered.Reader.Buffered()))
	}
	if err == nil {
		relay(request.Context(), near, far)
	}
	_ = near.Close()
	_ = far.Close()
}

// relay copies both ways until both ends are done, or ctx ends.
func relay(ctx context.Context, near, far net.Conn) {
	stop := context.AfterFunc(ctx, func() {
		_ = near.Close()
		_ = far.Close()
	})
	defer stop()
	var up sync.WaitGroup
	up.Go(func() { pass(far, near) })
	pass(near, far)
	up.Wait()
}

// pass copies until from ends, and then ends that direction; a connection that
// breaks ends both.
func pass(to, from net.Conn) {
	_, err := io.Copy(to, from)
	half, ok := to.(interface{ CloseWrite() error })
	if err != nil || !ok || half.CloseWrite() != nil {
		_ = to.Close()
		_ = from.Close()
	}
}
