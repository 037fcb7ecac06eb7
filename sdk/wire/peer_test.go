package wire

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/gaia-go/gaia/sdk/internal/peercred"
	"github.com/gaia-go/gaia/sdk/internal/proctest"
)

// connection is one with a socket of this very process.
func connection(t *testing.T, sockets string) (client, server net.Conn) {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "unix", filepath.Join(sockets, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer closeThis(t, listener)
	var dialer net.Dialer
	if client, err = dialer.DialContext(t.Context(), "unix", listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeThis(t, client) })
	if server, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeThis(t, server) })
	return client, server
}

func closeThis(t *testing.T, c interface{ Close() error }) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestTheKernelNamesThePeerAtBothEnds(t *testing.T) {
	client, server := connection(t, proctest.LeavesNothing(t))
	for name, conn := range map[string]net.Conn{"client": client, "server": server} {
		got, err := peercred.Of(conn)
		if want := (peercred.Peer{PID: os.Getpid(), UID: os.Getuid()}); err != nil || got != want {
			t.Errorf("%s: got %+v, error %v, want %+v", name, got, err, want)
		}
	}
}

func TestAPluginAcceptsItsHostAndNobodyElse(t *testing.T) {
	_, server := connection(t, proctest.LeavesNothing(t))
	tests := []struct {
		name string
		host string // as the environment says
		want string // the refusal
	}{
		{"nobody in particular", "", ""},
		{"this process", fmt.Sprint(os.Getpid()), ""},
		{"another process", "1", fmt.Sprintf("wire: connection refused: process %d is not the host, which is process 1", os.Getpid())},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv(EnvHostPID, test.host)
			creds, err := hostCredentials()
			if err != nil {
				t.Fatal(err)
			}
			var got string
			if _, _, err := creds.ServerHandshake(server); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestAProcessOfAnotherUserIsRefused(t *testing.T) {
	err := peercred.Peer{PID: 7, UID: os.Geteuid() + 1}.SameUser()
	if want := fmt.Sprintf("process 7 belongs to user %d, not to user %d", os.Geteuid()+1, os.Geteuid()); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestAHostThatIsNoProcessIDIsRefused(t *testing.T) {
	for _, text := range []string{"x", "0", "-1"} {
		t.Setenv(EnvHostPID, text)
		_, err := hostCredentials()
		if want := fmt.Sprintf("wire: GAIA_HOST_PID is %q, want a process id", text); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
