package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
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

// contestants are the ways that are measured, the baseline first. Each has
// processes of its own.
func contestants() []func(context.Context, Options) (*path, error) {
	return []func(context.Context, Options) (*path, error){
		plainPath,
		grpcPath,
		linkPath,
	}
}

// grpcPath is caller → host → plugin by gRPC on both hops.
func grpcPath(ctx context.Context, o Options) (*path, error) {
	return housePath(ctx, o, "gaia, gRPC", dispatchPlugin, wholeGate, byGRPC, "--no-link")
}

// linkPath is caller → host → plugin by the link on both hops.
func linkPath(ctx context.Context, o Options) (*path, error) {
	return housePath(ctx, o, "gaia, link", dispatchPlugin, wholeGate, byLink)
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
		o.progress("dispatch: callers: %d, size: %d B, %d rounds of %v", l.callers, l.size, o.Rounds, o.Round)
		rows, err := o.compete(ctx, meters, l.greeters, l.greeters, l.greeters)
		if err != nil {
			return nil, fmt.Errorf("dispatch: %w", err)
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

// greeters make callers, each with a name of its own.
func (l load) greeters(conn grpc.ClientConnInterface) []*caller {
	callers := make([]*caller, l.callers)
	for i := range callers {
		callers[i] = &caller{call: greeter(conn, l.name(i))}
	}
	return callers
}

// name is one of l.size bytes; a very short one is that of several callers.
func (l load) name(i int) string {
	name := strings.Repeat("x", l.size) + strconv.Itoa(i)
	return name[len(name)-l.size:]
}

// greeter does what a generated client does, and looks at the answer.
func greeter(conn grpc.ClientConnInterface, name string) func(context.Context) error {
	request, want := wrapperspb.String(name), "Hello, "+name+"!"
	return func(ctx context.Context) error {
		answer := new(wrapperspb.StringValue)
		if err := conn.Invoke(ctx, dispatchMethod, request, answer, grpc.StaticMethod()); err != nil {
			return err
		}
		if got := answer.GetValue(); got != want {
			return fmt.Errorf("a wrong answer of %d B: got %.80q, want %.80q", len(got), got, want)
		}
		return nil
	}
}

// crew makes those who call by a path.
type crew func(grpc.ClientConnInterface) []*caller

// compete measures paths by turns, the first of them the baseline, each with a
// crew. The first round of all warms up, and has no figures.
func (o Options) compete(ctx context.Context, meters []*meter, each ...crew) ([]Row, error) {
	crews := make([][]*caller, len(meters))
	for i, m := range meters {
		crews[i] = each[i](m.path.conn)
	}
	rounds := make([][]Figures, len(meters))
	for round := range o.Rounds + 1 {
		for i, m := range meters {
			figures, err := m.round(ctx, crews[i], o.Round)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", m.path.what, err)
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
