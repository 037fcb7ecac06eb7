// Package door lets scripts into the pool that speak the Chrome DevTools Protocol
// themselves: Playwright (connectOverCDP), Puppeteer (connect), chromedp. Each
// client of its WebSocket has a view, which is a browser of its own to it.
//
// A connection travels Door.ServeHTTP (who is it?) → connect (is there a place?)
// → client.go (messages both ways until one side ends).
package door

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/outlet"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/slot"
	"golang.org/x/sys/unix"
)

const (
	// headerTime is how long a client may take over its request.
	headerTime = 10 * time.Second

	// placeTime is how long a client waits for a place in a browser. Playwright
	// and Puppeteer give up after 30 s.
	placeTime = 25 * time.Second
)

// Options say who may come in. All are set.
type Options struct {
	Listen      string // host:port
	Token       string
	Product     string // of the browsers, as they say it themselves
	Engine      slot.Engine
	MaxClients  int
	MaxTabs     int           // of a client
	IdleTimeout time.Duration // without a message of the client's
	Slots       *slot.Pool
	Outlets     *outlet.Rules
	Meter       Meter
}

// Meter counts what passes. Its methods are safe for concurrent use.
type Meter interface {
	Client(more int)                    // 1 or -1
	Message(fromClient bool, bytes int) // one
}

// Door is the open door. The caller closes it.
type Door struct {
	Options

	listener net.Listener
	server   *http.Server
	served   chan struct{}
	open     context.Context //nolint:containedctx // ends with the door
	shut     context.CancelFunc
	clients  sync.WaitGroup

	mu     sync.Mutex
	number int // clients
	closed bool
}

// Open listens.
func Open(ctx context.Context, o Options) (*Door, error) {
	config := net.ListenConfig{
		Control: shared,
		// A client whose machine has gone is noticed within 30 s.
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3},
	}
	listener, err := config.Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return nil, err
	}
	o.Outlets.Refuse(listener.Addr().(*net.TCPAddr).AddrPort()) // it listens on TCP
	d := &Door{Options: o, listener: listener, served: make(chan struct{})}
	d.open, d.shut = context.WithCancel(context.WithoutCancel(ctx))
	d.server = &http.Server{Handler: d, ReadHeaderTimeout: headerTime, IdleTimeout: headerTime}
	go func() {
		defer close(d.served)
		_ = d.server.Serve(listener) // until Close
	}()
	return d, nil
}

// shared lets the next process of this plugin listen before this one has ended:
// a new config is in force without a gap.
func shared(_, _ string, c syscall.RawConn) error {
	var err error
	if control := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}); control != nil {
		return control
	}
	return err
}

// Addr is where the door listens.
func (d *Door) Addr() string { return d.listener.Addr().String() }

// Close sends all clients away and returns when nothing of them is left.
func (d *Door) Close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.shut()
	_ = d.server.Close() // of a listener
	<-d.served
	d.clients.Wait()
}

// ServeHTTP answers what browsers answer at their debugging port.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if fault := d.isForeign(r); fault != "" {
		http.Error(w, fault, http.StatusForbidden)
		return
	}
	path, ok := d.admit(r)
	if !ok {
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "show the token of the door: ?token=…, Authorization: Bearer …, or as the first part of the path", http.StatusUnauthorized)
		return
	}
	switch path = strings.TrimSuffix(path, "/"); {
	case path == "" && isUpgrade(r), strings.HasPrefix(path, "/devtools/browser/"):
		d.connect(w, r)
	case path == "/json/version":
		d.version(w, r)
	case path == "/json", path == "/json/list":
		// A client's tabs are its own, and who asks here has none.
		answer(w, []any{})
	case path == "/json/new", strings.HasPrefix(path, "/json/activate/"), strings.HasPrefix(path, "/json/close/"), strings.HasPrefix(path, "/devtools/page/"):
		http.Error(w, "tabs are a client's own: connect to /, and use Target.createTarget", http.StatusForbidden)
	case path == "/json/protocol":
		http.Error(w, "the protocol is that of "+d.Product+", but for what the door refuses", http.StatusNotFound)
	default:
		http.Error(w, "here are /json/version, /json/list and, as a WebSocket, /", http.StatusNotFound)
	}
}

func isUpgrade(r *http.Request) bool { return strings.EqualFold(r.Header.Get("Upgrade"), "websocket") }

func (d *Door) version(w http.ResponseWriter, r *http.Request) {
	answer(w, map[string]string{
		"Browser": d.Product, "Protocol-Version": "1.3",
		"webSocketDebuggerUrl": "ws://" + r.Host + "/devtools/browser/gaia?token=" + d.Token,
	})
}

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(value) // a client that has gone
}

// isForeign says what is wrong with a request that a page of some site has made,
// in the browser of somebody who may reach the door; "" if nothing is.
func (d *Door) isForeign(r *http.Request) string {
	if origin := r.Header.Get("Origin"); origin != "" {
		return fmt.Sprintf("pages of %.100q may not come in: the door is for programs", origin)
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	listen, _, _ := net.SplitHostPort(d.Listen)
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil || strings.EqualFold(host, "localhost") || host == listen {
		return ""
	}
	return fmt.Sprintf("host %.100q is not this door's: use its address", host)
}
