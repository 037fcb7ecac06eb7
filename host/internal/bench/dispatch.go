package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	"google.golang.org/grpc"

	"github.com/gaia-go/gaia/sdk/client"
)

const (
	dispatchRounds = 5
	dispatchRound  = time.Second

	// The plugin that is called and its method. The host knows no plugin's API:
	// request and answer each have one field, a string with the number 1, as
	// google.protobuf.StringValue has.
	dispatchPlugin  = "hello"
	dispatchService = "hello.v1.Greeter"
	dispatchName    = "Hello"
	dispatchMethod  = "/" + dispatchService + "/" + dispatchName
)

// wholeGate has every policy on, and so wide that none rejects: a rate of ten
// million per second is the fastest that a config may say.
const wholeGate = `
subsystem "` + dispatchPlugin + `" {
  plugin = "` + dispatchPlugin + `"
  limits {
    concurrency = 100000
    queue       = 100000
    timeout     = "30s"
  }
  rate "global" {
    limit = "10000000/s"
    burst = 1000000
    wait  = "1s"
  }
  rate "name" {
    key   = "name"
    limit = "10000000/s"
    burst = 1000000
    wait  = "1s"
  }
  breaker {
    failures = 10
    within   = "10s"
    open_for = "5s"
  }
  retry {
    attempts = 3
    budget   = "10%"
  }
}
`

// path is one way to the plugin.
type path struct {
	what  string
	conn  grpc.ClientConnInterface
	house *house // on the way; nil for none
	pids  []int  // of all processes, this one included
	close func() error
}

// contestants are the ways that are measured, the baseline first. Each has
// processes of its own.
func contestants() []func(context.Context, Options) (*path, error) {
	return []func(context.Context, Options) (*path, error){
		plainPath,
		grpcPath,
		linkPath,
	}
}

// plainPath is caller → plugin by unary gRPC, both as an ordinary user of
// go-plugin has them.
func plainPath(ctx context.Context, o Options) (*path, error) {
	dir, err := os.MkdirTemp("", "gaia")
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), o.Gaia, "bench", PlainPlugin) //nolint:gosec // G204: this program
	client, conn, err := launchPlain(cmd, plainHandshake(), dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &path{
		what:  "plain go-plugin",
		conn:  conn,
		pids:  []int{os.Getpid(), client.ReattachConfig().Pid},
		close: func() error { client.Kill(); return os.RemoveAll(dir) },
	}, nil
}

// grpcPath is caller → host → plugin by gRPC on both hops.
func grpcPath(ctx context.Context, o Options) (*path, error) {
	byGRPC := func(_ context.Context, h *house) (grpc.ClientConnInterface, func() error, error) {
		return h.conn, func() error { return nil }, nil
	}
	return housePath(ctx, o, "gaia, gRPC", byGRPC, "--no-link")
}

// linkPath is caller → host → plugin by the link on both hops.
func linkPath(ctx context.Context, o Options) (*path, error) {
	byLink := func(ctx context.Context, h *house) (grpc.ClientConnInterface, func() error, error) {
		conn, err := client.Dial(ctx, h.socket)
		if err != nil {
			return nil, nil, err
		}
		if conn.Transport() != "link" {
			return nil, nil, errors.Join(errors.New("the host has no link"), conn.Close())
		}
		return conn, conn.Close, nil
	}
	return housePath(ctx, o, "gaia, link", byLink)
}

// dial connects to a host; hangUp ends the connection.
type dial func(ctx context.Context, h *house) (conn grpc.ClientConnInterface, hangUp func() error, err error)

// housePath is caller → host, with the whole gate, → plugin.
func housePath(ctx context.Context, o Options, what string, connect dial, arguments ...string) (p *path, err error) {
	h, err := open(ctx, o, wholeGate, arguments...)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.close())
		}
	}()
	s, err := h.await(ctx, dispatchPlugin, func(s *hostv1.Subsystem) bool { return s.GetState() == hostv1.State_READY })
	if err != nil {
		return nil, err
	}
	conn, hangUp, err := connect(ctx, h)
	if err != nil {
		return nil, err
	}
	return &path{
		what:  what,
		conn:  conn,
		house: h,
		pids:  []int{os.Getpid(), h.cmd.Process.Pid, int(s.GetPid())},
		close: func() error { return errors.Join(hangUp(), h.close()) },
	}, nil
}

// load is how a path is called.
type load struct{ callers, size int }

// loads are what is measured, in tables by size.
func (o Options) loads() []load {
	if o.Callers > 0 || o.Size > 0 {
		size := o.Size
		if size == 0 {
			size = 64
		}
		if o.Callers > 0 {
			return []load{{o.Callers, size}}
		}
		return []load{{1, size}, {64, size}, {512, size}}
	}
	return []load{{1, 64}, {64, 64}, {512, 64}, {64, 4096}}
}

// dispatch measures calls, by each path in turn.
func dispatch(ctx context.Context, o Options) (result *Result, err error) {
	if o.Rounds <= 0 {
		o.Rounds = dispatchRounds
	}
	if o.Round <= 0 {
		o.Round = dispatchRound
	}
	var paths []*path
	defer func() {
		for _, p := range paths {
			err = errors.Join(err, p.close())
		}
	}()
	for _, connect := range contestants() {
		p, err := connect(ctx, o)
		if err != nil {
			return nil, fmt.Errorf("dispatch: %w", err)
		}
		paths = append(paths, p)
	}
	meters := make([]*meter, len(paths))
	for i, p := range paths {
		meters[i] = &meter{path: p}
	}
	result = &Result{Name: "dispatch", Machine: machine()}
	for _, l := range o.loads() {
		rows, err := o.compete(ctx, meters, l)
		if err != nil {
			return nil, err
		}
		title := fmt.Sprintf("%d B in each call", l.size)
		if n := len(result.Tables); n == 0 || result.Tables[n-1].Title != title {
			result.Tables = append(result.Tables, Table{Title: title, Columns: dispatchColumns()})
		}
		table := &result.Tables[len(result.Tables)-1]
		table.Rows = append(table.Rows, rows...)
	}
	result.Counted, err = count(ctx, meters)
	return result, err
}

func dispatchColumns() []Column {
	return []Column{
		{Name: "callers", Head: "CALLERS"},
		{Name: "calls_per_second", Head: "CALLS/S"},
		{Name: "ratio", Head: "RATIO", Digits: 2},
		{Name: "p50_us", Head: "P50", Unit: "µs"},
		{Name: "p99_us", Head: "P99", Unit: "µs"},
		{Name: "cpu_us", Head: "CPU/CALL", Unit: "µs", Digits: 1},
		{Name: "caller_allocs", Head: "CALLER'S ALLOCS", Digits: 1},
		{Name: "host_allocs", Head: "HOST'S ALLOCS", Digits: 1},
	}
}

// compete measures all paths under one load, by turns. The first round of all
// warms up, and has no figures.
func (o Options) compete(ctx context.Context, meters []*meter, l load) ([]Row, error) {
	o.progress("dispatch: callers: %d, size: %d B, %d rounds of %v", l.callers, l.size, o.Rounds, o.Round)
	callers := newCallers(l)
	rounds := make([][]Figures, len(meters))
	for round := range o.Rounds + 1 {
		for i, m := range meters {
			figures, err := m.round(ctx, callers, o.Round)
			if err != nil {
				return nil, fmt.Errorf("dispatch: %s: %w", m.path.what, err)
			}
			if round > 0 {
				rounds[i] = append(rounds[i], figures)
			}
		}
	}
	rows := make([]Row, len(meters))
	for i, m := range meters {
		ratios(rounds[i], rounds[0], "calls_per_second")
		rows[i] = medians(m.path.what, rounds[i])
	}
	return rows, nil
}

// count compares the calls that were made with those that the hosts counted.
func count(ctx context.Context, meters []*meter) (*Counted, error) {
	total := new(Counted)
	for _, m := range meters {
		if m.path.house == nil {
			continue
		}
		counted, err := m.path.house.counted(ctx, m.calls, countPatience)
		if err != nil {
			return nil, fmt.Errorf("dispatch: %s: %w", m.path.what, err)
		}
		total.Calls += m.calls
		total.Metric += counted
	}
	return total, nil
}

// countPatience is how long a host may take to count the last calls, which have
// their answers a moment before.
const countPatience = 5 * time.Second

// counted waits until the host has counted as many calls as were made, all of
// them good, no longer than patience.
func (h *house) counted(ctx context.Context, calls uint64, patience time.Duration) (uint64, error) {
	late := time.NewTimer(patience)
	defer late.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		metrics, err := h.scrape(ctx)
		if err != nil {
			return 0, err
		}
		series := map[string]string{"subsystem": dispatchPlugin, "method": dispatchMethod[1:]}
		all := uint64(metrics.sum("gaia_calls_total", series))
		series["code"] = "OK"
		good := uint64(metrics.sum("gaia_calls_total", series))
		if all == calls && good == calls {
			return all, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-late.C:
			return 0, fmt.Errorf("%d calls were made and answered, gaia_calls_total has %d, and %d of them OK", calls, all, good)
		}
	}
}
