package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// peerPatience is how long a supervisor may take for anything.
const peerPatience = 2 * time.Minute

// peer is a supervisor of somebody else, if it is installed.
type peer struct {
	what string
	// launch starts it with programs, whose scripts are there, and returns how to
	// end it, and a file in which its process id will be.
	launch func(ctx context.Context, dir string, programs []program) (end func() error, pidFile string, err error)
}

// program is a child of a supervisor, which writes its output to a file.
type program struct{ name, script, log string }

// path of the file with the script.
func (p program) path(dir string) string { return filepath.Join(dir, p.name+".sh") }

// peers are those that are found in PATH.
func peers() []peer {
	known := map[string]peer{
		"supervisord": {"supervisord", launchSupervisord},
		"pm2":         {"pm2", launchPM2},
	}
	var found []peer
	for _, name := range []string{"supervisord", "pm2"} {
		if _, err := exec.LookPath(name); err == nil {
			found = append(found, known[name])
		}
	}
	return found
}

func launchSupervisord(ctx context.Context, dir string, programs []program) (end func() error, pidFile string, err error) {
	pidFile = filepath.Join(dir, "supervisord.pid")
	var config strings.Builder
	fmt.Fprintf(&config, "[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile=%s\nchildlogdir=%s\n", pidFile, dir)
	for _, p := range programs {
		fmt.Fprintf(&config, "[program:%s]\ncommand=sh %s\nstdout_logfile=%s\nredirect_stderr=true\nautorestart=true\nstartsecs=0\n", p.name, p.path(dir), p.log)
	}
	path := filepath.Join(dir, "supervisord.conf")
	if err := os.WriteFile(path, []byte(config.String()), 0o600); err != nil {
		return nil, "", err
	}
	cmd := exec.CommandContext(ctx, "supervisord", "-n", "-c", path) //nolint:gosec // G204: supervisord
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	return func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = cmd.Wait()                          // with the signal
		return nil
	}, pidFile, nil
}

func launchPM2(ctx context.Context, dir string, programs []program) (end func() error, pidFile string, err error) {
	type app struct {
		Name        string `json:"name"`
		Script      string `json:"script"`
		Interpreter string `json:"interpreter"`
		Out         string `json:"out_file"`
		Err         string `json:"error_file"`
	}
	var config struct {
		Apps []app `json:"apps"`
	}
	for _, p := range programs {
		config.Apps = append(config.Apps, app{Name: p.name, Script: p.path(dir), Interpreter: "sh", Out: p.log, Err: p.log})
	}
	content, err := json.Marshal(config)
	if err != nil {
		return nil, "", err
	}
	path := filepath.Join(dir, "ecosystem.json")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return nil, "", err
	}
	run := func(ctx context.Context, arguments ...string) error {
		cmd := exec.CommandContext(ctx, "pm2", arguments...) //nolint:gosec // G204: pm2
		cmd.Env = append(os.Environ(), "PM2_HOME="+dir)
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("pm2 %s: %w: %.300s", arguments[0], err, output)
		}
		return nil
	}
	end = func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), peerPatience)
		defer cancel()
		return run(ctx, "kill")
	}
	if err := run(ctx, "start", path); err != nil {
		return nil, "", errors.Join(err, end())
	}
	return end, filepath.Join(dir, "pm2.pid"), nil
}

// with runs a supervisor with programs while measure does its work.
func (p peer) with(ctx context.Context, programs []program, dir string, measure func(pid int) (Figures, error)) (figures Figures, err error) {
	ctx, cancel := context.WithTimeout(ctx, peerPatience)
	defer cancel()
	for _, program := range programs {
		if err := os.WriteFile(program.path(dir), []byte(program.script), 0o600); err != nil {
			return nil, err
		}
	}
	end, pidFile, err := p.launch(ctx, dir, programs)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, end()) }()
	var pid int
	err = until(ctx, func() bool {
		content, _ := os.ReadFile(pidFile) //nolint:gosec // G304: its own
		pid, _ = strconv.Atoi(string(bytes.TrimSpace(content)))
		return pid > 0
	})
	if err != nil {
		return nil, err
	}
	return measure(pid)
}

// until looks again and again.
func until(ctx context.Context, done func() bool) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// crowd is what processesBench.crowd measures.
func (p peer) crowd(ctx context.Context, dir string) (Figures, error) {
	programs := make([]program, children)
	for i := range programs {
		name := "child-" + strconv.Itoa(i)
		programs[i] = program{name: name, script: childScript, log: filepath.Join(dir, name+".log")}
	}
	began := time.Now()
	return p.with(ctx, programs, dir, func(pid int) (Figures, error) {
		silent := slices.Clone(programs)
		err := until(ctx, func() bool {
			silent = slices.DeleteFunc(silent, func(c program) bool {
				info, err := os.Stat(c.log)
				return err == nil && info.Size() > 0
			})
			return len(silent) == 0
		})
		figures := Figures{"all_ms": milliseconds(time.Since(began))}
		if full, known := pss(pid); known {
			figures["pss_mb"] = float64(full) / 1e6
		}
		return figures, err
	})
}

// childScript says which process it is, and sleeps.
const childScript = "echo up $$; exec sleep 1000"

// restartsOfPeer is less than restartsOfOne: some wait for a second.
const restartsOfPeer = 5

// restarts is what processesBench.restarts measures.
func (p peer) restarts(ctx context.Context, dir string) (Figures, error) {
	log := filepath.Join(dir, "killed.log")
	return p.with(ctx, []program{{name: "killed", script: childScript, log: log}}, dir, func(int) (Figures, error) {
		samples := make([]time.Duration, 0, restartsOfPeer)
		pid, err := nextPID(ctx, log, 0)
		for err == nil && len(samples) < restartsOfPeer {
			began := time.Now()
			if err = syscall.Kill(pid, syscall.SIGKILL); err != nil {
				break
			}
			pid, err = nextPID(ctx, log, pid)
			samples = append(samples, time.Since(began))
		}
		if err != nil {
			return nil, err
		}
		slices.Sort(samples)
		return Figures{"p50_ms": milliseconds(quantile(samples, 0.5)), "p99_ms": milliseconds(samples[len(samples)-1])}, nil
	})
}

// nextPID waits until the last line of a log is of another child than last.
func nextPID(ctx context.Context, log string, last int) (pid int, err error) {
	err = until(ctx, func() bool {
		content, _ := os.ReadFile(log) //nolint:gosec // G304: our own
		lines := strings.Fields(string(content))
		if len(lines) == 0 || !bytes.HasSuffix(content, []byte("\n")) {
			return false
		}
		pid, _ = strconv.Atoi(lines[len(lines)-1])
		return pid > 0 && pid != last
	})
	return pid, err
}

// logs is what processesBench.logs measures.
func (p peer) logs(ctx context.Context, dir string) (Figures, error) {
	begun, done := filepath.Join(dir, "begun"), filepath.Join(dir, "done")
	script := fmt.Sprintf("[ -e %[2]s ] && exec sleep 1000\ndate +%%s%%N >%[1]s\ndd if=/dev/zero bs=%[3]d count=%[4]d 2>/dev/null\ndate +%%s%%N >%[2]s.part\nmv %[2]s.part %[2]s\nexec sleep 1000\n",
		begun, done, logWrite, logSize/logWrite)
	return p.with(ctx, []program{{name: "writer", script: script, log: filepath.Join(dir, "writer.log")}}, dir, func(pid int) (Figures, error) {
		if err := until(ctx, func() bool { return stamp(begun) > 0 }); err != nil {
			return nil, err
		}
		before, known := cpuTime([]int{pid})
		if err := until(ctx, func() bool { return stamp(done) > 0 }); err != nil {
			return nil, err
		}
		after, stillKnown := cpuTime([]int{pid})
		took := time.Duration(stamp(done) - stamp(begun))
		figures := Figures{"mb_per_second": logSize / 1e6 / took.Seconds()}
		if known && stillKnown {
			figures["cpu_seconds_per_gb"] = (after - before).Seconds() * 1e9 / logSize
		}
		return figures, nil
	})
}

// stamp is the time that is written in a file, 0 if it is not there.
func stamp(path string) int64 {
	content, _ := os.ReadFile(path) //nolint:gosec // G304: our own
	n, _ := strconv.ParseInt(string(bytes.TrimSpace(content)), 10, 64)
	return n
}
