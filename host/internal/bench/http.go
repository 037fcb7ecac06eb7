package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
)

const (
	httpPlugin    = "gaia-api-client-pool"
	httpSubsystem = "api"
	httpMethod    = "/gaia.api.v1.APIClientPool/Do"

	httpCallers     = 64
	httpBody        = 1 << 10
	httpSequential  = 1000
	urlNumber       = 2 // of DoRequest
	statusNumber    = 1 // of DoResponse
	httpBodyNumber  = 3
	httpConnections = 64
)

// httpConfig is a house that may call this machine.
const httpConfig = `
subsystem "` + httpSubsystem + `" {
  plugin = "` + httpPlugin + `"
  limits {
    concurrency = 2000
    queue       = 2000
    timeout     = "60s"
  }
  config {
    egress {
      rule {
        action    = "allow"
        addresses = ["loopback"]
      }
    }
  }
}
`

// httpGET measures the API client pool beside the client that it is made of.
func httpGET(ctx context.Context, o Options) (result *Result, err error) {
	if o.Rounds <= 0 {
		o.Rounds = dispatchRounds
	}
	if o.Round <= 0 {
		o.Round = dispatchRound
	}
	server := newOrigin()
	defer server.Close()
	transport := &http.Transport{MaxIdleConnsPerHost: httpConnections, MaxConnsPerHost: httpConnections}
	defer transport.CloseIdleConnections()
	direct := &meter{path: &path{what: "net/http", pids: []int{os.Getpid()}}}
	pooled, err := housePath(ctx, o, "gaia", httpSubsystem, httpConfig, byLink)
	if err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	defer func() { err = errors.Join(err, pooled.close()) }()
	b := httpBench{Options: o, server: server, direct: direct, pooled: &meter{path: pooled}, client: &http.Client{Transport: transport}}
	load, err := b.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	connections, err := b.connections(ctx)
	if err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	return &Result{Name: "http", Machine: machine(), Tables: []Table{load, connections}}, nil
}

// origin is an HTTP server in this process, which counts its connections.
type origin struct {
	*httptest.Server

	body   []byte
	opened atomic.Int64
}

func newOrigin() *origin {
	s := &origin{body: bytes.Repeat([]byte("x"), httpBody)}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(s.body) // who hangs up has no use for it
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.opened.Add(1)
		}
	}
	s.Start()
	return s
}

type httpBench struct {
	Options

	server         *origin
	client         *http.Client
	direct, pooled *meter
}

// load is many callers, each as fast as it has its answers.
func (b httpBench) load(ctx context.Context) (Table, error) {
	callers := b.Callers
	if callers <= 0 {
		callers = httpCallers
	}
	b.progress("http: %d callers GET %d B, %d rounds of %v", callers, httpBody, b.Rounds, b.Round)
	// Each caller has a URL of its own: identical requests would share an exchange.
	crew := func(get func(grpc.ClientConnInterface, string) func(context.Context) error) crew {
		return func(conn grpc.ClientConnInterface) []*caller {
			all := make([]*caller, callers)
			for i := range all {
				all[i] = &caller{call: get(conn, fmt.Sprintf("%s/%d", b.server.URL, i))}
			}
			return all
		}
	}
	rows, err := b.compete(ctx, []*meter{b.direct, b.pooled}, crew(b.getDirect), crew(b.getPooled))
	return Table{Title: fmt.Sprintf("%d callers GET %d B, server and callers in one process", callers, httpBody), Columns: []Column{
		{Name: "calls_per_second", Head: "GETS/S"},
		{Name: "ratio", Head: "RATIO", Digits: 2},
		{Name: "p50_us", Head: "P50", Unit: "µs"},
		{Name: "p99_us", Head: "P99", Unit: "µs"},
		{Name: "cpu_us", Head: "CPU/GET", Unit: "µs", Digits: 1},
	}, Rows: rows}, err
}

func (b httpBench) getDirect(_ grpc.ClientConnInterface, url string) func(context.Context) error {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := b.client.Do(request)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(response.Body)
		return errors.Join(err, response.Body.Close(), b.right(response.StatusCode, body))
	}
}

func (b httpBench) getPooled(conn grpc.ClientConnInterface, url string) func(context.Context) error {
	request := fields(nil).text(urlNumber, url).message()
	return func(ctx context.Context) error {
		answer := new(emptypb.Empty)
		if err := conn.Invoke(ctx, httpMethod, request, answer, grpc.StaticMethod()); err != nil {
			return err
		}
		status := varint(answer.ProtoReflect().GetUnknown(), statusNumber)
		return b.right(int(status), field(answer, httpBodyNumber)) //nolint:gosec // G115: a status of HTTP
	}
}

// right looks at an answer.
func (b httpBench) right(status int, body []byte) error {
	if status != http.StatusOK || !bytes.Equal(body, b.server.body) {
		return fmt.Errorf("got status %d with %d bytes, want %d with %d", status, len(body), http.StatusOK, len(b.server.body))
	}
	return nil
}

// connections counts those that requests one after the other need.
func (b httpBench) connections(ctx context.Context) (Table, error) {
	b.progress("http: %d GETs one after the other", httpSequential)
	t := Table{Title: fmt.Sprintf("%d GETs one after the other, by a new client", httpSequential), Columns: []Column{
		{Name: "connections", Head: "CONNECTIONS"},
		{Name: "total_ms", Head: "TIME", Unit: "ms", Digits: 1},
	}}
	fresh, err := housePath(ctx, b.Options, "gaia", httpSubsystem, httpConfig, byLink)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, fresh.close()) }()
	b.client.CloseIdleConnections()
	for _, c := range []struct {
		what string
		get  func(context.Context) error
	}{{"net/http", b.getDirect(nil, b.server.URL)}, {"gaia", b.getPooled(fresh.conn, b.server.URL)}} {
		before, began := b.server.opened.Load(), time.Now()
		for range httpSequential {
			if err := c.get(ctx); err != nil {
				return t, fmt.Errorf("%s: %w", c.what, err)
			}
		}
		t.Rows = append(t.Rows, Row{What: c.what, Figures: Figures{
			"connections": float64(b.server.opened.Load() - before),
			"total_ms":    milliseconds(time.Since(began)),
		}})
	}
	return t, nil
}
