package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

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
      first_args = ["-c", "echo up; exec sleep 1000"]
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
	config := fmt.Sprintf(processesConfig, filepath.Join(dir, "logs"), p["sh"], p["dd"], logWrite, logSize/logWrite, p["true"])
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

// crowd starts many children, each with a log of its own.
func (b processesBench) crowd(ctx context.Context) (Table, error) {
	b.progress("processes: %d children, %d rounds", children, b.Rounds)
	rounds := make([]Figures, 0, b.Rounds)
	names := make([]string, children)
	for i := range names {
		names[i] = "child-" + strconv.Itoa(i)
	}
	for range b.Rounds {
		idle, known := pss(b.plugin())
		began := time.Now()
		group, groupCtx := errgroup.WithContext(ctx)
		group.SetLimit(startsAtOnce)
		for _, name := range names {
			group.Go(func() error {
				_, err := b.start(groupCtx, name, "child", nil)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return Table{}, err
		}
		figures := Figures{"all_ms": milliseconds(time.Since(began))}
		if full, stillKnown := pss(b.plugin()); known && stillKnown {
			figures["pss_mb"] = float64(full) / 1e6
			figures["kb_per_child"] = float64(full-idle) / 1e3 / children
		}
		if err := b.end(ctx, names...); err != nil {
			return Table{}, err
		}
		rounds = append(rounds, figures)
	}
	return Table{Title: fmt.Sprintf("%d children with logs", children), Columns: []Column{
		{Name: "all_ms", Head: "ALL RUN AFTER", Unit: "ms"},
		{Name: "pss_mb", Head: "MEMORY (PSS)", Unit: "MB", Digits: 1},
		{Name: "kb_per_child", Head: "PER CHILD", Unit: "kB", Digits: 1},
	}, Rows: []Row{medians("gaia", rounds)}}, nil
}

// pss is the memory of a process, its share of what it shares.
func pss(pid int) (bytes int64, known bool) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(content)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kib << 10, err == nil
		}
	}
	return 0, false
}

// restarts kills a child that is to run always, again and again.
func (b processesBench) restarts(ctx context.Context) (Table, error) {
	b.progress("processes: %d times kill -9 of a child", restartsOfOne)
	// Stable after a microsecond, so that each restart is a first one, without backoff.
	stable := fields(nil).number(2, 1000)
	policy := fields(nil).number(1, restartAlways).text(4, string(stable)).number(5, minusOne)
	process, err := b.start(ctx, "killed", "child", fields(nil).text(3, string(policy)))
	if err != nil {
		return Table{}, err
	}
	samples := make([]time.Duration, 0, restartsOfOne)
	for range restartsOfOne {
		pid := varint(process, pidNumber)
		began := time.Now()
		if err := syscall.Kill(int(pid), syscall.SIGKILL); err != nil { //nolint:gosec // G115: a pid has 22 bits
			return Table{}, err
		}
		for next := pid; next == pid || next == 0; next = varint(process, pidNumber) {
			if process, err = b.call(ctx, "Get", fields(nil).text(1, "killed")); err != nil {
				return Table{}, err
			}
		}
		samples = append(samples, time.Since(began))
	}
	slices.Sort(samples)
	figures := Figures{
		"p50_ms": milliseconds(quantile(samples, 0.50)),
		"p99_ms": milliseconds(quantile(samples, 0.99)),
	}
	return Table{Title: "kill -9 of a child until another runs", Columns: []Column{
		{Name: "p50_ms", Head: "P50", Unit: "ms", Digits: 2},
		{Name: "p99_ms", Head: "P99", Unit: "ms", Digits: 2},
	}, Rows: []Row{{What: "gaia", Figures: figures}}}, b.end(ctx, "killed")
}

// minusOne is -1 as an int32 is written.
const minusOne = ^uint64(0)

// logs has a child write a gigabyte to its output, as fast as it can.
func (b processesBench) logs(ctx context.Context) (Table, error) {
	b.progress("processes: a child writes %d MiB, %d rounds", logSize>>20, b.Rounds)
	contestants := []struct {
		what    string
		capture func(context.Context) (cpu time.Duration, known bool, err error)
	}{
		{"the child's own file", b.ownFile},
		{"read and write by os/exec", b.copied},
		{"gaia", b.captured},
	}
	t := Table{Title: fmt.Sprintf("a child writes %d MiB in pieces of %d KiB", logSize>>20, logWrite>>10), Columns: []Column{
		{Name: "mb_per_second", Head: "MB/S"},
		{Name: "ratio", Head: "RATIO", Digits: 2},
		{Name: "cpu_seconds_per_gb", Head: "CPU S/GB", Digits: 2},
	}}
	rounds := make([][]Figures, len(contestants))
	for round := range b.Rounds + 1 {
		for i, c := range contestants {
			began := time.Now()
			cpu, known, err := c.capture(ctx)
			if err != nil {
				return Table{}, fmt.Errorf("%s: %w", c.what, err)
			}
			figures := Figures{"mb_per_second": logSize / 1e6 / time.Since(began).Seconds()}
			if known {
				figures["cpu_seconds_per_gb"] = cpu.Seconds() * 1e9 / logSize
			}
			if round > 0 {
				rounds[i] = append(rounds[i], figures)
			}
		}
	}
	for i, c := range contestants {
		ratios(rounds[i], rounds[0], "mb_per_second")
		t.Rows = append(t.Rows, medians(c.what, rounds[i]))
	}
	return t, nil
}

func (b processesBench) writer(ctx context.Context) *exec.Cmd {
	arguments := []string{"if=/dev/zero", "bs=" + strconv.Itoa(logWrite), "count=" + strconv.Itoa(logSize/logWrite)}
	cmd := exec.CommandContext(ctx, b.programs["dd"], arguments...) //nolint:gosec // G204: dd
	cmd.Stderr = new(bytes.Buffer)
	return cmd
}

// ownFile captures nothing: there is nothing faster.
func (b processesBench) ownFile(ctx context.Context) (time.Duration, bool, error) {
	file, err := os.Create(filepath.Join(b.dir, "own"))
	if err != nil {
		return 0, false, err
	}
	defer os.Remove(file.Name()) //nolint:errcheck // with the directory
	defer file.Close()
	cmd := b.writer(ctx)
	cmd.Stdout = file
	return 0, true, cmd.Run()
}

// copied is what a program does that hands an io.Writer to os/exec.
func (b processesBench) copied(ctx context.Context) (time.Duration, bool, error) {
	file, err := os.Create(filepath.Join(b.dir, "copied"))
	if err != nil {
		return 0, false, err
	}
	defer os.Remove(file.Name()) //nolint:errcheck // with the directory
	defer file.Close()
	before, known := cpuTime([]int{os.Getpid()})
	cmd := b.writer(ctx)
	cmd.Stdout = struct{ io.Writer }{file} // no file that could be handed to the child
	err = cmd.Run()
	after, stillKnown := cpuTime([]int{os.Getpid()})
	return after - before, known && stillKnown, err
}

// captured has the process manager keep the log.
func (b processesBench) captured(ctx context.Context) (time.Duration, bool, error) {
	before, known := cpuTime([]int{b.plugin()})
	if _, err := b.start(ctx, "writer", "writer", nil); err != nil {
		return 0, false, err
	}
	process, err := b.call(ctx, "Wait", fields(nil).text(1, "writer"))
	if err != nil {
		return 0, false, err
	}
	after, stillKnown := cpuTime([]int{b.plugin()})
	if state, end := varint(process, stateNumber), varint(process, logEndNumber); state != stateExited || end < logSize {
		return 0, false, fmt.Errorf("the writer is in state %d with a log of %d bytes, want %d with %d", state, end, stateExited, logSize)
	}
	_, err = b.call(ctx, "Remove", fields(nil).text(1, "writer"))
	return after - before, known && stillKnown, err
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
