package processes

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unicode/utf8"

	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"google.golang.org/grpc/codes"
)

func TestAProcessIsReadyWhenItsProbeSaysSo(t *testing.T) {
	b := open(t, testConfig(t))
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "ready")
	tests := map[string]struct {
		script string
		probe  *processv1.Probe
	}{
		"http":     {"sleep 60", &processv1.Probe{Http: server.URL}},
		"tcp":      {"sleep 60", &processv1.Probe{Tcp: server.Listener.Addr().String()}},
		"exec":     {"sleep .1; : >" + file + "; sleep 60", &processv1.Probe{Exec: &processv1.ExecProbe{Command: "sh", Args: []string{"-c", "test -e " + file}}}},
		"log_line": {"echo not; sleep .05; printf 'listening on '; sleep .05; echo 80; sleep 60", &processv1.Probe{LogLine: `^listening on \d+$`}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.probe.Every = seconds(.01)
			p := b.start(&processv1.StartRequest{Name: name, Spec: shell(test.script), Ready: test.probe, WaitReady: true})
			if p.GetState() != processv1.State_RUNNING || p.GetReason() != "" {
				t.Errorf("got %v", p)
			}
		})
	}
	if n := asked.Load(); n != 3 {
		t.Errorf("asked %d times, want 3", n)
	}
}

func TestAProcessThatIsNotReadyInTimeIsEnded(t *testing.T) {
	b := open(t, testConfig(t))
	closed, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a port that is free
	if err != nil {
		t.Fatal(err)
	}
	address := closed.Addr().String()
	_ = closed.Close()
	_, err = b.Start(b.context(), &processv1.StartRequest{Name: "one", Spec: shell("sleep 60"), WaitReady: true, Ready: &processv1.Probe{Tcp: address, Every: seconds(.01), Failures: 3}})
	refused(t, err, codes.FailedPrecondition, "not ready", "3 tries in a row", "connection refused")
	if e := b.get("one").GetExit(); e.GetCause() != processv1.Cause_UNHEALTHY || e.GetBy() != "readiness" {
		t.Errorf("got %v", e)
	}
}

func TestAProcessThatEndsBeforeItIsReadySaysSo(t *testing.T) {
	b := open(t, testConfig(t))
	_, err := b.Start(b.context(), &processv1.StartRequest{Name: "one", Spec: shell("exit 4"), WaitReady: true, Ready: &processv1.Probe{LogLine: "up"}})
	refused(t, err, codes.FailedPrecondition, "not ready", "exit code 4")
}

func TestAProcessThatIsNotAliveAnyMoreIsStartedAgain(t *testing.T) {
	b := open(t, testConfig(t))
	file := filepath.Join(t.TempDir(), "sick")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.start(&processv1.StartRequest{
		Name: "one", Spec: shell("sleep 60"), Restart: always(.001, 0),
		Live: &processv1.Probe{Exec: &processv1.ExecProbe{Command: "sh", Args: []string{"-c", "echo sick; test ! -e " + file}}, Every: seconds(.01), Failures: 2},
	})
	if !soon(func() bool { return b.get("one").GetRestarts() > 0 }) {
		t.Fatal(b.get("one"))
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	p := b.get("one")
	if e := p.GetExit(); e.GetCause() != processv1.Cause_UNHEALTHY || e.GetBy() != "liveness" || !strings.Contains(e.GetMessage(), "sick") {
		t.Errorf("got %v", p)
	}
}

func TestWhatAProbeIsToldIsBoundedText(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // ends with the test
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 500 \xff\xfe"+strings.Repeat("x", 32<<10)+"\r\nContent-Length: 0\r\n\r\n")
			_ = conn.Close()
		}
	})
	defer serving.Wait()
	defer listener.Close()
	b := open(t, testConfig(t))
	b.start(&processv1.StartRequest{Name: "one", Spec: shell("exec sleep 60"), Ready: &processv1.Probe{Http: "http://" + listener.Addr().String(), Every: seconds(.01)}})
	var reason string
	if !soon(func() bool {
		r, err := b.List(b.context(), &processv1.ListRequest{})
		if err != nil {
			t.Fatal(err)
		}
		reason = r.GetProcesses()[0].GetReason()
		return strings.Contains(reason, "500")
	}) || len(reason) > 2000 || !utf8.ValidString(reason) {
		t.Errorf("got %d bytes: %.200q", len(reason), reason)
	}
}
