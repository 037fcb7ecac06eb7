package processes

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/allow"
	"github.com/gaia-go/gaia/plugins/process-manager/internal/life"
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

// maxAnswer bounds the header of an answer.
const maxAnswer = 64 << 10

// newProbeClient asks once and goes nowhere else: a redirect is an answer.
func newProbeClient() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: maxAnswer},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
