package keeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gaia-go/gaia/sdk/wire"
)

// voice speaks in place of an instance.
type voice struct {
	t       testing.TB
	session *Session
	served  chan error
	socket  *net.UnixConn
	conn    *wire.KeeperConn // over the same socket
}

// speak opens a session without a process.
func speak(t testing.TB, s *Store) *voice {
	t.Helper()
	session, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	v := listenTo(t, session)
	session.endLaunch()
	go func() { v.served <- session.Serve(context.WithoutCancel(t.Context())) }()
	t.Cleanup(func() {
		v.close()
		if _, err := session.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

// listenTo takes hold of an instance's end of the socket before its launch.
func listenTo(t testing.TB, session *Session) *voice {
	t.Helper()
	socket, err := net.FileConn(session.plugin)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.FcntlInt(session.plugin.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := wire.NewKeeperConn(os.NewFile(uintptr(fd), "keeper"))
	if err != nil {
		t.Fatal(err)
	}
	return &voice{t: t, session: session, socket: socket.(*net.UnixConn), conn: conn, served: make(chan error, 1)}
}

func (v *voice) close() {
	_ = v.conn.Close()
	_ = v.socket.Close()
}

// ask returns the host's answer. Its files are closed, their number is kept.
func (v *voice) ask(m wire.KeeperMessage) (answer wire.KeeperMessage) {
	v.t.Helper()
	if err := v.conn.Send(m); err != nil {
		v.t.Fatal(err)
	}
	answer, err := v.conn.Receive()
	if err != nil {
		v.t.Fatal(err)
	}
	wire.CloseFiles(answer.Files)
	answer.Data = bytes.Clone(answer.Data)
	return answer
}

// names lists what is kept.
func (v *voice) names() (names []string) {
	v.t.Helper()
	for after := ""; ; {
		answer := v.ask(wire.KeeperMessage{Kind: wire.KeeperNext, Name: after})
		if answer.Kind != wire.KeeperEntry {
			return names
		}
		after = answer.Name
		names = append(names, fmt.Sprintf("%s=%s+%d", answer.Name, answer.Data, len(answer.Files)))
	}
}

func pipeEnd(t testing.TB) int {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	t.Cleanup(func() { _ = r.Close() })
	return int(r.Fd())
}

func TestEverySessionSeesWhatAnyOfThemHasKept(t *testing.T) {
	store := start(t).Store("s")
	a, b := speak(t, store), speak(t, store)
	fd := pipeEnd(t)
	a.ask(wire.KeeperMessage{Kind: wire.KeeperKeep, Name: "b", Data: []byte("1"), Files: []int{fd}})
	b.ask(wire.KeeperMessage{Kind: wire.KeeperKeep, Name: "a", Data: []byte("2"), Files: []int{fd, fd}})
	b.ask(wire.KeeperMessage{Kind: wire.KeeperKeep, Name: "c"})
	want := []string{"a=2+2", "b=1+1", "c=+0"}
	for range 2 { // it takes nothing away
		if got := a.names(); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	a.ask(wire.KeeperMessage{Kind: wire.KeeperKeep, Name: "b", Data: []byte("3"), Files: []int{fd, fd, fd}})
	b.ask(wire.KeeperMessage{Kind: wire.KeeperKeepData, Name: "a", Data: []byte("4")})
	b.ask(wire.KeeperMessage{Kind: wire.KeeperForget, Name: "c"})
	b.ask(wire.KeeperMessage{Kind: wire.KeeperForget, Name: "never kept"})
	if got, want := a.names(), []string{"a=4+2", "b=3+3"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := speak(t, store.keeper.Store("another")).names(); got != nil {
		t.Errorf("another subsystem sees %q", got)
	}
	if store.files != 5 || store.bytes != 2 || store.keeper.files != 5 {
		t.Errorf("counted: %d files, %d bytes, %d files of all", store.files, store.bytes, store.keeper.files)
	}
}

func TestBoundsAreKeptAndNamed(t *testing.T) {
	k := start(t)
	k.storeRoom, k.room = 20, 30
	full := k.Store("full")
	filler := speak(t, full)
	fd := pipeEnd(t)
	some := func(n int) []int { return slices.Repeat([]int{fd}, n) }
	filler.ask(wire.KeeperMessage{Kind: wire.KeeperKeep, Name: "x", Files: some(16)})
	v := speak(t, k.Store("s"))
	v.ask(wire.KeeperMessage{Kind: wire.KeeperKeep, Name: "y", Files: some(10)})
	tests := []struct {
		by   *voice
		give wire.KeeperMessage
		want string // "" for yes
	}{
		{v, wire.KeeperMessage{Kind: wire.KeeperKeep, Name: ""}, "no name to keep anything under"},
		{v, wire.KeeperMessage{Kind: wire.KeeperKeep, Name: strings.Repeat("n", 200)}, ""},
		{v, wire.KeeperMessage{Kind: wire.KeeperKeep, Name: strings.Repeat("n", 201)}, "a name of 201 bytes, limit 200"},
		{v, wire.KeeperMessage{Kind: wire.KeeperKeep, Name: "d", Data: make([]byte, 64<<10)}, ""},
		{v, wire.KeeperMessage{Kind: wire.KeeperKeep, Name: "d", Data: make([]byte, 64<<10+1)}, "data of 65537 bytes, limit 65536"},
		{v, wire.KeeperMessage{Kind: wire.KeeperKeep, Name: "f", Files: some(17)}, "17 files under one name, limit 16"},
		{v, wire.KeeperMessage{Kind: wire.KeeperKeep, Name: "f", Files: some(253)}, "253 files under one name, limit 16"},
		{filler, wire.KeeperMessage{Kind: wire.KeeperKeep, Name: "f", Files: some(5)}, "21 files would be kept, limit 20, a quarter of what the host may open (ulimit -n)"},
		{filler, wire.KeeperMessage{Kind: wire.KeeperKeep, Name: "f", Files: some(4)}, ""},
		{v, wire.KeeperMessage{Kind: wire.KeeperKeep, Name: "f", Files: some(1)}, "31 files of all subsystems would be kept, limit 30, half of what the host may open (ulimit -n)"},
		{v, wire.KeeperMessage{Kind: wire.KeeperKeep, Name: "y", Files: some(10)}, ""},
		{v, wire.KeeperMessage{Kind: wire.KeeperKeepData, Name: "z"}, "nothing is kept under this name"},
		{v, wire.KeeperMessage{Kind: wire.KeeperExit, Name: "z"}, "nothing is kept under this name"},
		{v, wire.KeeperMessage{Kind: wire.KeeperExit, Name: "y"}, "no pidfd is kept under this name"},
	}
	for _, test := range tests {
		answer := test.by.ask(test.give)
		if got := string(answer.Data); answer.Kind == wire.KeeperRefused != (test.want != "") || got != test.want {
			t.Errorf("%d %.10q with %d files: got %d %q, want %q", test.give.Kind, test.give.Name, len(test.give.Files), answer.Kind, got, test.want)
		}
	}
}

func TestNamesAndDataAreBounded(t *testing.T) {
	store := start(t).Store("s")
	v := speak(t, store)
	keep := func(name string, size int) string {
		answer := v.ask(wire.KeeperMessage{Kind: wire.KeeperKeep, Name: name, Data: make([]byte, size)})
		return string(answer.Data)
	}
	for n := range maxBytes / wire.MaxKeptData {
		if got := keep(fmt.Sprint(n), wire.MaxKeptData); got != "" {
			t.Fatal(got)
		}
	}
	if got, want := keep("one more", 1), "16777217 bytes of data would be kept, limit 16777216"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for n := range wire.MaxKeptNames {
		if got := keep(fmt.Sprint(n), 0); got != "" {
			t.Fatal(got)
		}
	}
	if got, want := keep("one more", 0), "4096 names are kept, limit 4096"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := len(v.names()); got != wire.MaxKeptNames {
		t.Errorf("got %d names", got)
	}
}

func TestWhatAnInstanceSaidBeforeItsDeathIsDone(t *testing.T) {
	store := start(t).Store("s")
	session, err := store.Open()
	if err != nil {
		t.Fatal(err)
	}
	v := listenTo(t, session)
	for n := range 10 { // nobody serves yet
		if err := v.conn.Send(wire.KeeperMessage{Kind: wire.KeeperKeep, Name: fmt.Sprint(n)}); err != nil {
			t.Fatal(err)
		}
	}
	session.endLaunch()
	v.close() // as its death does
	if err := session.Serve(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := session.Close(); err != nil {
		t.Error(err)
	}
	if got := len(speak(t, store).names()); got != 10 {
		t.Errorf("got %d names, want 10", got)
	}
}

func TestAStoppedKeeperRefuses(t *testing.T) {
	leavesNothing(t)
	k := New()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := k.Run(ctx); err != nil {
		t.Error(err)
	}
	store := k.Store("s")
	if _, err := store.Open(); !errors.Is(err, errStopped) {
		t.Errorf("Open: got %v, want %v", err, errStopped)
	}
	if err := store.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTheDeadDoNotWaitForEachOther(t *testing.T) {
	k := start(t)
	store := k.Store("s")
	voices := []*voice{speak(t, store), speak(t, store)}
	if err := k.do(func() {
		for _, v := range voices {
			v.session.dead = true
		}
	}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for _, v := range voices {
		v.names()
	}
	if took := time.Since(began); took >= killTime {
		t.Errorf("it took %v", took)
	}
}
