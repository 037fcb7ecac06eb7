package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
)

const (
	processesPlugin    = "gaia-process-manager"
	processesSubsystem = "processes"
	processesService   = "/gaia.process.v1.ProcessManager/"

	children       = 200
	startsAtOnce   = 8
	restartsOfOne  = 50
	logSize        = 1 << 30
	logWrite       = 64 << 10
	runsAtOnce     = 8
	stateExited    = 5
	slowDefault    = 0
	slowBlock      = 1
	restartAlways  = 3
	processNumber  = 1 // of the process in an answer
	pidNumber      = 5
	stateNumber    = 3
	logEndNumber   = 14
	exitCodeNumber = 2
)

// processesConfig is a house that may start what is measured.
const processesConfig = `
subsystem "` + processesSubsystem + `" {
  plugin = "` + processesPlugin + `"
  limits {
    concurrency = 1000
    queue       = 1000
    timeout     = "5m"
  }
  config {
    log_dir       = %q
    max_processes = 1000
    command "child" {
      path       = %q
      first_args = ["-c", %q]
    }
    command "writer" {
      path       = %q
      first_args = ["if=/dev/zero", "bs=%d", "count=%d"]
    }
    command "true" {
      path = %q
    }
  }
}
`

// programs are what is started, by name.
func programs() (map[string]string, error) {
	found := make(map[string]string)
	for _, name := range []string{"sh", "dd", "true"} {
		path, err := exec.LookPath(name)
		if err == nil {
			path, err = filepath.Abs(path)
		}
		if err != nil {
			return nil, err
		}
		found[name] = path
	}
	return found, nil
}

// processes measures the process manager.
func processes(ctx context.Context, o Options) (result *Result, err error) {
	if o.Rounds <= 0 {
		o.Rounds = 3
	}
	if o.Round <= 0 {
		o.Round = dispatchRound
	}
	dir, err := os.MkdirTemp("", "gaia-processes")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p, err := programs()
	if err != nil {
		return nil, fmt.Errorf("processes: %w", err)
	}
	config := fmt.Sprintf(processesConfig, filepath.Join(dir, "logs"), p["sh"], childScript, p["dd"], logWrite, logSize/logWrite, p["true"])
	path, err := housePath(ctx, o, "gaia", processesSubsystem, config, byLink)
	if err != nil {
		return nil, fmt.Errorf("processes: %w", err)
	}
	defer func() { err = errors.Join(err, path.close()) }()
	b := processesBench{Options: o, dir: dir, programs: p, path: path}
	result = &Result{Name: "processes", Machine: machine()}
	for _, measure := range []func(context.Context) (Table, error){b.crowd, b.restarts, b.logs, b.runs} {
		table, err := measure(ctx)
		if err != nil {
			return nil, fmt.Errorf("processes: %w", err)
		}
		result.Tables = append(result.Tables, table)
	}
	return result, nil
}

// processesBench is a house with a process manager.
type processesBench struct {
	Options

	dir      string
	programs map[string]string
	path     *path
}

// call calls a method whose answer has a message with the number 1.
func (b processesBench) call(ctx context.Context, method string, request fields) ([]byte, error) {
	answer := new(emptypb.Empty)
	if err := b.path.conn.Invoke(ctx, processesService+method, request.message(), answer); err != nil {
		return nil, fmt.Errorf("%s: %w", method, err)
	}
	return field(answer, processNumber), nil
}

func (b processesBench) start(ctx context.Context, name, command string, more fields) (process []byte, err error) {
	spec := fields(nil).text(1, command)
	return b.call(ctx, "Start", append(fields(nil).text(1, name).text(2, string(spec)), more...))
}

// end stops processes and forgets them.
func (b processesBench) end(ctx context.Context, names ...string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(startsAtOnce)
	for _, name := range names {
		group.Go(func() error {
			if _, err := b.call(ctx, "Stop", fields(nil).text(1, name)); err != nil {
				return err
			}
			_, err := b.call(ctx, "Remove", fields(nil).text(1, name))
			return err
		})
	}
	return group.Wait()
}

// plugin is the process of the plugin.
func (b processesBench) plugin() int { return b.path.pids[len(b.path.pids)-1] }

// beside adds what the supervisors that are installed do, each in a directory
// of its own.
func (b processesBench) beside(rows []Row, measure func(p peer, dir string) (Figures, error)) ([]Row, error) {
	for _, p := range peers() {
		b.progress("processes: the same with %s", p.what)
		dir, err := os.MkdirTemp(b.dir, "peer")
		if err != nil {
			return nil, err
		}
		figures, err := measure(p, dir)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.what, err)
		}
		rows = append(rows, Row{What: p.what, Figures: figures})
	}
	return rows, nil
}

// runs starts short commands and waits for them.
func (b processesBench) runs(ctx context.Context) (Table, error) {
	b.progress("processes: %d callers run true, %d rounds of %v", runsAtOnce, b.Rounds, b.Round)
	direct := &meter{path: &path{what: "os/exec", pids: []int{os.Getpid()}}}
	rows, err := b.compete(ctx, []*meter{direct, {path: b.path}}, runners(b.runDirect), runners(b.run))
	for _, row := range rows {
		delete(row.Figures, "cpu_us") // the children's is not in it
	}
	return Table{Title: fmt.Sprintf("%d callers run `true`", runsAtOnce), Columns: []Column{
		{Name: "calls_per_second", Head: "RUNS/S"},
		{Name: "ratio", Head: "RATIO", Digits: 2},
		{Name: "p50_us", Head: "P50", Unit: "µs"},
		{Name: "p99_us", Head: "P99", Unit: "µs"},
	}, Rows: rows}, err
}

// runners is a crew of which each does the same.
func runners(run func(context.Context) error) crew {
	return func(grpc.ClientConnInterface) []*caller {
		all := make([]*caller, runsAtOnce)
		for i := range all {
			all[i] = &caller{call: run}
		}
		return all
	}
}

func (b processesBench) runDirect(ctx context.Context) error {
	return exec.CommandContext(ctx, b.programs["true"]).Run() //nolint:gosec // G204: true
}

func (b processesBench) run(ctx context.Context) error {
	spec := fields(nil).text(1, "true")
	exit, err := b.call(ctx, "Run", fields(nil).text(1, string(spec)))
	if err == nil && (len(exit) == 0 || varint(exit, exitCodeNumber) != 0) {
		err = fmt.Errorf("true ended with code %d", varint(exit, exitCodeNumber))
	}
	return err
}
