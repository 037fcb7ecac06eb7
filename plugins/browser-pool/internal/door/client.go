package door

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/coder/websocket"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/view"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// maxMessage of a client's: a file that it answers a request with.
	maxMessage = 64 << 20

	// writeTime is how long a client may take to read one message.
	writeTime = 30 * time.Second

	// pingEvery is how often a client is asked whether it is still there, and
	// pingTime how long it may take to say so: one behind a proxy of its own, or
	// one that hangs, has a connection that is well. A script that computes
	// answers late.
	pingEvery = 30 * time.Second
	pingTime  = time.Minute

	// goodbyeTime is how long a client may take to say goodbye.
	goodbyeTime = 500 * time.Millisecond
)

var (
	errIdle = errors.New("the client was silent for too long (cdp.idle_timeout)")
	errShut = errors.New("the door is closed")
	errGone = errors.New("the client does not answer")
)

// connect gives a client a browser, or says why there is none.
func (d *Door) connect(w http.ResponseWriter, r *http.Request) {
	if !isUpgrade(r) {
		http.Error(w, "this is a WebSocket", http.StatusUpgradeRequired)
		return
	}
	if !d.enter() {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "all clients' places are taken (cdp.max_clients)", http.StatusServiceUnavailable)
		return
	}
	defer d.leave()
	ctx, cancel := context.WithTimeout(r.Context(), placeTime)
	defer cancel()
	defer context.AfterFunc(d.open, cancel)()
	v, err := view.Open(ctx, d.Slots, view.Options{Engine: d.Engine, Client: "cdp", MaxTabs: d.MaxTabs, Outlets: d.Outlets})
	if err != nil {
		refuse(w, err)
		return
	}
	defer v.Close()
	socket, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return // it has been answered
	}
	defer socket.CloseNow() //nolint:errcheck // it may be closed
	d.serve(socket, v)
}

func refuse(w http.ResponseWriter, err error) {
	code := http.StatusServiceUnavailable
	if status.Code(err) == codes.ResourceExhausted {
		code = http.StatusTooManyRequests
	}
	w.Header().Set("Retry-After", "1")
	http.Error(w, "no browser: "+status.Convert(err).Message(), code)
}

func (d *Door) enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.number >= d.MaxClients {
		return false
	}
	d.number++
	d.clients.Add(1)
	d.Meter.Client(1)
	return true
}

func (d *Door) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.number--
	d.clients.Done()
	d.Meter.Client(-1)
}

// serve passes messages until the client, its browser or the door has ended.
func (d *Door) serve(socket *websocket.Conn, v *view.View) {
	socket.SetReadLimit(maxMessage)
	ctx, end := context.WithCancelCause(context.WithoutCancel(d.open))
	defer end(nil)
	defer context.AfterFunc(d.open, func() { end(errShut) })()
	idle := time.AfterFunc(d.IdleTimeout, func() { end(errIdle) })
	defer idle.Stop()
	// A read that is cut short breaks the socket, so that it outlives ctx until the
	// goodbye: Close waits for 5 s, and CloseNow does nothing once it does.
	reading, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	received := make(chan struct{})
	go func() {
		defer close(received)
		end(d.receive(ctx, reading, socket, v, idle))
	}()
	pinged := make(chan struct{})
	go func() {
		defer close(pinged)
		ping(ctx, socket, pingEvery, pingTime, end)
	}()
	err := d.send(ctx, socket, v)
	v.Close() // nobody waits for a client that does not say goodbye
	late := time.AfterFunc(goodbyeTime, cut)
	defer late.Stop()
	_ = socket.Close(closing(err))
	end(err)
	<-received
	<-pinged
}

// ping ends the connection of a client that has vanished. It returns with ctx.
func ping(ctx context.Context, socket *websocket.Conn, every, patience time.Duration, end context.CancelCauseFunc) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		wait, cancel := context.WithTimeout(ctx, patience)
		if err := socket.Ping(wait); err != nil {
			end(errGone)
		}
		cancel()
	}
}

// receive passes what the client says, until reading ends.
func (d *Door) receive(ctx, reading context.Context, socket *websocket.Conn, v *view.View, idle *time.Timer) error {
	for {
		_, text, err := socket.Read(reading)
		if err != nil {
			return io.EOF
		}
		idle.Reset(d.IdleTimeout)
		d.Meter.Message(true, len(text))
		if err := v.Receive(ctx, text); err != nil {
			return err
		}
	}
}

// send passes what the browser says, and returns why no more is to be said.
func (d *Door) send(ctx context.Context, socket *websocket.Conn, v *view.View) error {
	for {
		text, err := v.Next(ctx)
		if err != nil {
			return err
		}
		write, cancel := context.WithTimeout(ctx, writeTime)
		err = socket.Write(write, websocket.MessageText, text)
		cancel()
		if err != nil {
			return err
		}
		d.Meter.Message(false, len(text))
	}
}

// closing is what a client is told at the end.
func closing(err error) (websocket.StatusCode, string) {
	switch {
	case errors.Is(err, io.EOF):
		return websocket.StatusNormalClosure, ""
	case errors.Is(err, devtools.ErrClosed):
		return websocket.StatusInternalError, devtools.ErrClosed.Error()
	case errors.Is(err, errIdle):
		return websocket.StatusPolicyViolation, errIdle.Error()
	}
	reason := err.Error()
	return websocket.StatusGoingAway, reason[:min(len(reason), 120)]
}
