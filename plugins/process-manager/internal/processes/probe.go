package processes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/allow"
	"github.com/gaia-go/gaia/plugins/process-manager/internal/life"
	"github.com/gaia-go/gaia/plugins/process-manager/internal/logs"
	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
)

// probe is a test of a process. One of exec, http, tcp and line is set.
type probe struct {
	name     string // "ready" or "live"
	exec     *processv1.ExecProbe
	http     string
	tcp      string
	line     *regexp.Regexp
	every    time.Duration
	timeout  time.Duration // of one try
	failures uint32        // in a row that are too many; 0: no number is
}

const (
	defaultEvery       = time.Second
	minEvery           = 10 * time.Millisecond
	defaultTryTimeout  = time.Second
	defaultLiveFailure = 3
)

// probeOf reads a probe, which may be nil.
func probeOf(name string, r *processv1.Probe) (*probe, error) {
	if r == nil {
		return nil, nil
	}
	p := &probe{name: name, exec: r.GetExec(), http: r.GetHttp(), tcp: r.GetTcp(), failures: r.GetFailures()}
	given := 0
	for _, is := range []bool{p.exec != nil, p.http != "", p.tcp != "", r.GetLogLine() != ""} {
		if is {
			given++
		}
	}
	if given != 1 {
		return nil, invalid("%s: exactly one of exec, http, tcp and log_line is given, got %d of them", name, given)
	}
	if err := p.checkTarget(r.GetLogLine()); err != nil {
		return nil, err
	}
	if p.failures == 0 && name == "live" {
		p.failures = defaultLiveFailure
	}
	var err error
	if p.every, err = duration(name+".every", r.GetEvery(), defaultEvery, minEvery, forever); err != nil {
		return nil, err
	}
	p.timeout, err = duration(name+".timeout", r.GetTimeout(), defaultTryTimeout, time.Millisecond, forever)
	return p, err
}

// checkTarget wants what is asked to be on this machine.
func (p *probe) checkTarget(logLine string) (err error) {
	switch {
	case p.http != "":
		u, err := url.Parse(p.http)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" {
			return invalid("%s.http: want a URL such as \"http://127.0.0.1:8080/health\"", p.name)
		}
		if !isLocal(u.Hostname()) {
			return invalid("%s.http: %q is not localhost or a loopback address", p.name, u.Hostname())
		}
	case p.tcp != "":
		host, _, err := net.SplitHostPort(p.tcp)
		if err != nil || !isLocal(host) {
			return invalid("%s.tcp: want localhost or a loopback address, and a port, such as \"127.0.0.1:5432\"", p.name)
		}
	case logLine != "" && p.name == "live":
		return invalid("live.log_line: a line of output tells when a process is ready, not that it lives")
	case logLine != "":
		if p.line, err = regexp.Compile(logLine); err != nil {
			return invalid("%s.log_line: not a regular expression (RE2): %v", p.name, err)
		}
	}
	return nil
}

func isLocal(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// checkProbes reports whether the commands of the probes are allowed.
func (m *Manager) checkProbes(p plan) error {
	for _, probe := range []*probe{p.ready, p.live} {
		if probe != nil && probe.exec != nil {
			if _, err := m.probeCommand(probe); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *Manager) probeCommand(p *probe) (allow.Command, error) {
	return m.check(&processv1.Spec{Command: p.exec.GetCommand(), Args: p.exec.GetArgs()})
}

// probing is the probe that is under way: one for each generation and kind.
type probing struct {
	probe      *probe
	generation uint64
	cancel     context.CancelFunc
	done       chan struct{}
}

// probe lets the probe run that the state asks for, and no other.
func (p *process) probe(ctx context.Context) {
	var wanted *probe
	switch {
	case p.machine.State == life.Starting && p.machine.Alive:
		wanted = p.plan.ready
	case p.machine.State == life.Running:
		wanted = p.plan.live
	}
	if p.probing.probe == wanted && p.probing.generation == p.machine.Generation {
		return
	}
	p.stopProbe()
	p.probing = probing{probe: wanted, generation: p.machine.Generation}
	if wanted == nil {
		return
	}
	ctx, p.probing.cancel = context.WithCancel(ctx)
	p.probing.done = make(chan struct{})
	go p.keepProbing(ctx, p.probing, p.log, p.child.logStart)
}

// stopProbe ends the probe and waits for it. What it still has to tell is not
// heard.
func (p *process) stopProbe() {
	if p.probing.probe == nil {
		return
	}
	p.probing.cancel()
	<-p.probing.done
	p.setDoubt("")
	p.probing = probing{}
}

func (p *process) setDoubt(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doubt = text
}

// keepProbing tries until there is something to tell, or ctx ends.
func (p *process) keepProbing(ctx context.Context, now probing, log *logs.Log, from int64) {
	defer close(now.done)
	ev := life.Event{Kind: life.Ready, Generation: now.generation}
	var err error
	if now.probe.line != nil {
		err = awaitLine(ctx, log, from, now.probe.line)
	} else if err = p.tryOften(ctx, now.probe); err != nil {
		ev = life.Event{
			Kind: life.Unhealthy, Generation: now.generation, By: map[string]string{"ready": "readiness", "live": "liveness"}[now.probe.name],
			Detail: err.Error(), Grace: p.plan.grace,
		}
		err = nil
	}
	if err != nil || ctx.Err() != nil {
		return
	}
	_ = p.tell(ctx, ev) // an error: nobody wants to know any more
}

// tryOften returns nil when a process is ready, or why it has to end: too many
// tries in a row have failed. For a live one that is its only way to return, but
// for the end of ctx.
func (p *process) tryOften(ctx context.Context, probe *probe) error {
	tick := time.NewTicker(probe.every)
	defer tick.Stop()
	for failures := uint32(0); ; {
		err := p.try(ctx, probe)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil && probe.name == "ready":
			return nil
		case err == nil:
			failures = 0
			p.setDoubt("")
		default:
			failures++
			p.setDoubt(err.Error())
			if failures == probe.failures {
				return fmt.Errorf("%d tries in a row have failed, the last: %w", failures, err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// try tests once.
func (p *process) try(ctx context.Context, probe *probe) error {
	ctx, cancel := context.WithTimeout(ctx, probe.timeout)
	defer cancel()
	switch {
	case probe.exec != nil:
		return p.manager.tryExec(ctx, probe)
	case probe.http != "":
		return p.manager.tryHTTP(ctx, probe.http)
	default:
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", probe.tcp)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

func (m *Manager) tryExec(ctx context.Context, probe *probe) error {
	command, err := m.probeCommand(probe)
	if err != nil {
		return err
	}
	result, err := m.run(ctx, oneshot{command: command, maxOutput: maxProbeOutput, merge: true}, life.Reason{Cause: life.CauseTimeout})
	if err != nil {
		return err
	}
	if result.exit.Cause != life.CauseExit || result.exit.Code != 0 {
		last := strings.TrimSpace(string(result.stdout.content))
		return fmt.Errorf("%s: %s: %.200q", probe.exec.GetCommand(), result.exit.Message, last)
	}
	return nil
}

// maxProbeOutput is as much as an error repeats.
const maxProbeOutput = 4 << 10

func (m *Manager) tryHTTP(ctx context.Context, target string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return err
	}
	response, err := m.probes.Do(request)
	if err != nil {
		return err
	}
	if err := response.Body.Close(); err != nil {
		return err
	}
	if response.StatusCode < 200 || response.StatusCode > 399 {
		return fmt.Errorf("%s answers %s", target, response.Status)
	}
	return nil
}

// newProbeClient asks once and goes nowhere else: a redirect is an answer.
func newProbeClient() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// maxLine bounds how much of a line is looked at.
const maxLine = 64 << 10

var errFound = errors.New("found")

// awaitLine waits until a line from an offset of the log on matches.
func awaitLine(ctx context.Context, log *logs.Log, from int64, pattern *regexp.Regexp) error {
	var rest []byte // the beginning of a line
	err := log.Read(ctx, logs.From{Offset: from}, true, func(c logs.Chunk) error {
		text := append(rest, c.Content...) //nolint:gocritic // rest is made anew below
		for {
			line, after, complete := bytes.Cut(text, []byte("\n"))
			if !complete {
				break
			}
			if pattern.Match(bytes.TrimSuffix(line, []byte("\r"))) {
				return errFound
			}
			text = after
		}
		rest = bytes.Clone(text[:min(len(text), maxLine)])
		return nil
	})
	if errors.Is(err, errFound) {
		return nil
	}
	if err == nil {
		err = errors.New("the log has ended")
	}
	return err
}
