package telemetry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/pprof" // its handlers on http.DefaultServeMux are not served; ours want a token
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxScrapes is how many scrapes may be under way: two Prometheus servers and a
// curious operator. Each asks every plugin.
const maxScrapes = 4

// pageTimeout bounds the time to send a page, or a profile of a minute.
const pageTimeout = 2 * time.Minute

// State is what /readyz tells about a subsystem.
type State struct {
	Name   string `json:"name"`
	State  string `json:"state"`            // "ready", "backoff", …
	Reason string `json:"reason,omitempty"` // in one line; "" when ready
	Ready  bool   `json:"ready"`
}

// PagesConfig is what the pages tell of.
type PagesConfig struct {
	// Metrics are served at /metrics. Required.
	Metrics *Merger
	// Subsystems says how each subsystem is, for /readyz. Required; safe for
	// concurrent use.
	Subsystems func() []State
	// Logger gets what goes wrong. Required.
	Logger hclog.Logger
}

// index tells who looks at the port what it is.
const index = `This is gaia.

With a token, as the header "Authorization: Bearer TOKEN":
  /v1                           subsystems, their methods, and calls of them by JSON
  /v1/openapi.json              all of that for programs
  /<package.Service>/<Method>   calls by Connect, gRPC and gRPC-Web
  /debug/pprof/                 profiles, with the host's own token

For everybody:
  /metrics  /livez  /readyz
`

// pages are /metrics, /livez and /readyz.
type pages struct {
	config  PagesConfig
	scrapes chan struct{} // a place per scrape under way
}

// Pages returns a handler of /metrics, /livez, /readyz and of an index, which hold
// nothing that is secret.
func Pages(c PagesConfig) http.Handler {
	p := &pages{config: c, scrapes: make(chan struct{}, maxScrapes)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", always(index))
	mux.HandleFunc("GET /livez", always("ok\n")) // the host runs; whether its subsystems do is readyz
	mux.HandleFunc("GET /readyz", p.readyz)
	mux.HandleFunc("GET /metrics", p.metrics)
	return inTime(mux)
}

// Profiles returns a handler of /debug/pprof/. Profiles show memory and command
// line: they are not for everybody.
func Profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return inTime(mux)
}

// inTime does not wait for who reads no further.
func inTime(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Where it is not supported nobody reads from a connection.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(pageTimeout))
		next.ServeHTTP(w, r)
	})
}

// always answers with the same text.
func always(page string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte(page)) // the client may have gone
	}
}

// readyz answers 200 when all subsystems are ready and 503 when one is not.
func (p *pages) readyz(w http.ResponseWriter, _ *http.Request) {
	body := struct {
		Ready      bool    `json:"ready"`
		Subsystems []State `json:"subsystems"`
	}{Ready: true, Subsystems: p.config.Subsystems()}
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

func (p *pages) metrics(w http.ResponseWriter, r *http.Request) {
	select {
	case p.scrapes <- struct{}{}:
		defer func() { <-p.scrapes }()
	default:
		http.Error(w, fmt.Sprintf("metrics: %d scrapes under way, limit %d", maxScrapes, maxScrapes), http.StatusServiceUnavailable)
		return
	}
	logger := p.config.Logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Error})
	promhttp.HandlerFor(p.config.Metrics.Gatherer(r.Context()), promhttp.HandlerOpts{
		ErrorLog:      logger,
		ErrorHandling: promhttp.HTTPErrorOnError,
	}).ServeHTTP(w, r)
}
