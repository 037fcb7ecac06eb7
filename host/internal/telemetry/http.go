package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof" // its handlers on http.DefaultServeMux are not served; ours want a token
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	maxHeaderBytes    = 64 << 10
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 2 * time.Minute // a profile of a minute, and time to send it
	idleTimeout       = 2 * time.Minute
	shutdownGrace     = 2 * time.Second
	// maxScrapes is how many scrapes may be under way: two Prometheus servers
	// and a curious operator. Each asks every plugin.
	maxScrapes = 4
)

// State is what /readyz tells about a subsystem.
type State struct {
	Name   string `json:"name"`
	State  string `json:"state"`            // "ready", "backoff", …
	Reason string `json:"reason,omitempty"` // in one line; "" when ready
	Ready  bool   `json:"ready"`
}

// HTTPConfig is what the HTTP server needs.
type HTTPConfig struct {
	// Metrics are served at /metrics. Required.
	Metrics *Merger
	// Subsystems says how each subsystem is, for /readyz. Required; safe for
	// concurrent use.
	Subsystems func() []State
	// Token is the bearer token for /debug/pprof. Profiles show memory and
	// command line, so without a token they are refused to everybody.
	Token string
	// Host is the host name in the configured address, if it has one: with the
	// loopback names and IP addresses it is what a Host header may say.
	Host string
	// Logger gets what goes wrong. Required.
	Logger hclog.Logger
}

// HTTP is the host's HTTP server: /metrics, /livez, /readyz, /debug/pprof.
type HTTP struct {
	config  HTTPConfig
	scrapes chan struct{} // a place per scrape under way
}

// NewHTTP returns a server that is not started.
func NewHTTP(c HTTPConfig) *HTTP {
	return &HTTP{config: c, scrapes: make(chan struct{}, maxScrapes)}
}

// Serve answers on lis, which it closes, until ctx ends; requests that are
// under way then are cancelled and get a moment to end. It returns nil when it
// ended because of ctx.
func (h *HTTP) Serve(ctx context.Context, lis net.Listener) error {
	server := &http.Server{
		Handler:           h.Handler(),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          h.config.Logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(lis) }()
	select {
	case err := <-served:
		return fmt.Errorf("http: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	err := server.Shutdown(grace)
	if err != nil { // somebody is still reading
		err = server.Close()
	}
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	if err != nil {
		return fmt.Errorf("http: %w", err)
	}
	return nil
}

// Handler returns what Serve serves.
func (h *HTTP) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", livez)
	mux.HandleFunc("GET /readyz", h.readyz)
	mux.HandleFunc("GET /metrics", h.metrics)
	profiles := http.NewServeMux()
	profiles.HandleFunc("/debug/pprof/", pprof.Index)
	profiles.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	profiles.HandleFunc("/debug/pprof/profile", pprof.Profile)
	profiles.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	profiles.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.Handle("/debug/pprof/", requireToken(h.config.Token, profiles))
	return checkHost(h.config.Host, noSniff(mux))
}

// livez says that the host runs; whether its subsystems do is readyz.
func livez(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n")) // the client may have gone
}

// readyz answers 200 when all subsystems are ready and 503 when one is not.
func (h *HTTP) readyz(w http.ResponseWriter, _ *http.Request) {
	body := struct {
		Ready      bool    `json:"ready"`
		Subsystems []State `json:"subsystems"`
	}{Ready: true, Subsystems: h.config.Subsystems()}
	if body.Subsystems == nil {
		body.Subsystems = []State{}
	}
	for _, s := range body.Subsystems {
		body.Ready = body.Ready && s.Ready
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !body.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(body) // the client may have gone
}

func (h *HTTP) metrics(w http.ResponseWriter, r *http.Request) {
	select {
	case h.scrapes <- struct{}{}:
		defer func() { <-h.scrapes }()
	default:
		http.Error(w, fmt.Sprintf("metrics: %d scrapes under way, limit %d", maxScrapes, maxScrapes), http.StatusServiceUnavailable)
		return
	}
	logger := h.config.Logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Error})
	promhttp.HandlerFor(h.config.Metrics.Gatherer(r.Context()), promhttp.HandlerOpts{
		ErrorLog:      logger,
		ErrorHandling: promhttp.HTTPErrorOnError,
	}).ServeHTTP(w, r)
}
