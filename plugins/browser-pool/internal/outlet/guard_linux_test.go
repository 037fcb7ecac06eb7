package outlet

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

func TestAnotherUserOfTheMachineCannotUseAnOutlet(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can be another user")
	}
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("no curl")
	}
	rules := &Rules{}
	if err := rules.Guard(t.Context()); err != nil {
		t.Skip(err)
	}
	o := open(t, rules)
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer server.Close()
	for _, test := range []struct {
		user uint32
		want int // curl's: 0, or 52 and 56 of a connection that was closed
	}{{0, 0}, {65534, 52}} {
		command := exec.CommandContext(t.Context(), curl, "-sS", "--noproxy", "", "-x", o.Address(), server.URL)
		command.Dir = "/"
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: test.user, Gid: test.user}}
		out, err := command.CombinedOutput()
		code := 0
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			code = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if code != test.want && (test.want == 0 || code != 56) {
			t.Errorf("user %d: curl ended with %d: %s", test.user, code, out)
		}
	}
	if asked != 1 {
		t.Errorf("the server was asked %d times, want 1", asked)
	}
}

// BenchmarkPeer is what a connection costs more when outlets are guarded.
func BenchmarkPeer(b *testing.B) {
	o, to := open(b, &Rules{}), echo(b)
	conn, _ := tunnel(b, o, to)
	defer func() { _ = conn.Close() }()
	b.ReportAllocs()
	for b.Loop() {
		if err := who(conn); err != nil {
			b.Fatal(err)
		}
	}
}

func who(conn net.Conn) error {
	_, err := peer(conn.(*net.TCPConn))
	return err
}
