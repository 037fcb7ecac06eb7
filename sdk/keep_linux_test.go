package sdk

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gaia-go/gaia/sdk/internal/proctest"
	"github.com/gaia-go/gaia/sdk/wire"
)

// hostOf returns a keeper's client and the host's end of its socket.
func hostOf(t *testing.T) (*keeper, *wire.KeeperConn) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0)
	if err != nil {
		t.Fatal(err)
	}
	host, err := wire.NewKeeperConn(os.NewFile(uintptr(pair[0]), "host"))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(wire.EnvKeeperFD, strconv.Itoa(pair[1]))
	k := inheritKeeper()
	if k.fault != nil {
		t.Fatal(k.fault)
	}
	t.Cleanup(func() {
		_ = host.Close()
		if k.conn != nil {
			_ = k.conn.Close()
		}
		if k.socket != nil {
			_ = k.socket.Close()
		}
	})
	return k, host
}

// answerWith answers the next requests, each with all of the messages that are
// given for it; those without an id get that of the request.
func answerWith(t *testing.T, host *wire.KeeperConn, answers ...[]wire.KeeperMessage) {
	t.Helper()
	done := make(chan struct{})
	t.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		for _, messages := range answers {
			request, err := host.Receive()
			if err != nil {
				t.Error(err)
				return
			}
			wire.CloseFiles(request.Files)
			for _, m := range messages {
				if m.ID == 0 {
					m.ID = request.ID
				}
				if err := host.Send(m); err != nil {
					t.Error(err)
				}
			}
		}
	}()
}

func TestTheSocketIsClosedToChildrenAndLeavesTheEnvironment(t *testing.T) {
	proctest.LeavesNothing(t)
	k, _ := hostOf(t)
	if _, found := os.LookupEnv(wire.EnvKeeperFD); found {
		t.Error("the environment still has it")
	}
	var list strings.Builder
	cmd := exec.CommandContext(t.Context(), "ls", "-l", "/proc/self/fd")
	cmd.Stdout = &list
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	socket, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(k.socket.Fd())))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(list.String(), socket) {
		t.Errorf("a child has %s:\n%s", socket, &list)
	}
}

func TestADescriptorThatIsNoneIsRefused(t *testing.T) {
	for _, text := range []string{"x", "-1", "0", "900"} {
		t.Setenv(wire.EnvKeeperFD, text)
		if err := inheritKeeper().fault; !errors.Is(err, ErrKeepUnavailable) || !strings.Contains(err.Error(), `GAIA_KEEPER_FD is "`+text+`"`) {
			t.Errorf("%s: got %v", text, err)
		}
	}
}

func TestAnswersAreCheckedAndLateOnesSkipped(t *testing.T) {
	proctest.LeavesNothing(t)
	k, host := hostOf(t)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	file := []int{int(null.Fd())}
	next := wire.KeeperMessage{Kind: wire.KeeperNext, Name: "m"}
	tests := []struct {
		name    string
		request wire.KeeperMessage
		answers []wire.KeeperMessage
		want    string // "" for no error
	}{
		{"right", next, []wire.KeeperMessage{{Kind: wire.KeeperEntry, Name: "n", Files: file}}, ""},
		{"late ones first", next, []wire.KeeperMessage{{Kind: wire.KeeperEntry, Name: "x", ID: 999, Files: file}, {Kind: wire.KeeperEnd}}, ""},
		{"refused", next, []wire.KeeperMessage{{Kind: wire.KeeperRefused, Data: []byte("no")}}, "no"},
		{"not the next one", next, []wire.KeeperMessage{{Kind: wire.KeeperEntry, Name: "m", Files: file}}, "answer 67 of the host, with 1 files, does not fit to request 4"},
		{"another's", next, []wire.KeeperMessage{{Kind: wire.KeeperDone}}, "answer 65 of the host, with 0 files, does not fit to request 4"},
		{"no pidfd", wire.KeeperMessage{Kind: wire.KeeperExit}, []wire.KeeperMessage{{Kind: wire.KeeperRunning}}, "answer 69 of the host, with 0 files, does not fit to request 5"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			answerWith(t, host, test.answers)
			answer, err := k.call(test.request)
			var got string
			if err != nil {
				got = err.Error()
			} else {
				wire.CloseFiles(answer.Files)
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	_ = host.Close()
	if _, err := k.call(next); !errors.Is(err, ErrKeepUnavailable) {
		t.Errorf("when the host has gone: got %v, want %v", err, ErrKeepUnavailable)
	}
}

func TestFilesAreSentAsTheyAre(t *testing.T) {
	proctest.LeavesNothing(t)
	r, w, err := os.Pipe() // both do not block
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	copies, err := duplicates([]*os.File{r, w})
	if err != nil {
		t.Fatal(err)
	}
	defer wire.CloseFiles(copies)
	for _, fd := range copies {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		if err != nil || flags&unix.O_NONBLOCK == 0 {
			t.Errorf("got flags %o, error %v, want it not to block", flags, err)
		}
	}
}

func TestTheEndOfAProcessIsAwaited(t *testing.T) {
	proctest.LeavesNothing(t)
	pidfd := -1
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{PidFD: &pidfd}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(pidfd) }()
	another := func() []int {
		fd, err := unix.FcntlInt(uintptr(pidfd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		return []int{fd}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := awaitEnd(cancelled, another()); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v, want %v", err, context.Canceled)
	}
	ended := make(chan error)
	for range 3 {
		fds := another()
		go func() { ended <- awaitEnd(t.Context(), fds) }()
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if err := cmd.Wait(); err == nil || !slices.Contains([]string{"signal: killed"}, err.Error()) { // nobody has set it to non-blocking
		t.Errorf("got %v, want it killed", err)
	}
}
