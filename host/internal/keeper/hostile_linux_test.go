package keeper

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gaia-go/gaia/sdk/wire"
)

func TestNonsenseEndsItsSessionOnlyAndLeavesNoDescriptor(t *testing.T) {
	store := start(t).Store("s")
	well := speak(t, store)
	fd := pipeEnd(t)
	random := make([]byte, 100)
	for n := range random {
		random[n] = byte(rand.N(256))
	}
	random[0] = 200
	packet := func(m wire.KeeperMessage) []byte { return wire.AppendKeeperMessage(nil, m) }
	tests := map[string]struct {
		packet []byte
		files  []int
		want   string // in the error of Serve, "" for none
	}{
		"nothing":          {nil, nil, ""}, // an empty packet is an end
		"files only":       {nil, []int{fd, fd}, ""},
		"too short":        {[]byte{1, 2, 3}, []int{fd}, "want at least 8"},
		"random":           {random, []int{fd}, ""},
		"no such kind":     {packet(wire.KeeperMessage{Kind: 99}), []int{fd}, "kind 99, which is no request"},
		"an answer":        {packet(wire.KeeperMessage{Kind: wire.KeeperRunning}), []int{fd}, "which is no request"},
		"unexpected files": {packet(wire.KeeperMessage{Kind: wire.KeeperNext}), []int{fd, fd, fd}, "3 files with a message of kind 4"},
		"too long":         {packet(wire.KeeperMessage{Kind: wire.KeeperKeep, Name: "n", Data: make([]byte, 66000)}), []int{fd}, "more than 65744 bytes"},
		"longer name":      {[]byte{1, 0, 255, 255, 0, 0, 0, 0, 'n'}, []int{fd}, "does not have a name of 65535"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			before := len(openFiles(t))
			v := speak(t, store)
			if _, _, err := v.socket.WriteMsgUnix(test.packet, unix.UnixRights(test.files...), nil); err != nil {
				t.Fatal(err)
			}
			err := <-v.served
			if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), `keeper: subsystem "s": `)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if _, err := v.conn.Receive(); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the plugin reads %v, want the end", err)
			}
			v.close()
			if got := len(openFiles(t)); got != before {
				t.Errorf("%d descriptors before, %d after", before, got)
			}
		})
	}
	if answer := well.ask(wire.KeeperMessage{Kind: wire.KeeperKeep, Name: "n"}); answer.Kind != wire.KeeperDone {
		t.Errorf("another session: got %+v", answer)
	}
}

func TestAFloodThatReadsNoAnswersEndsItsSession(t *testing.T) {
	store := start(t).Store("s")
	v := speak(t, store)
	fd := pipeEnd(t)
	for {
		if err := v.conn.Send(wire.KeeperMessage{Kind: wire.KeeperKeep, Name: "n", Files: []int{fd}}); err != nil {
			break // the session has ended
		}
	}
	if err := <-v.served; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want the end of the host's patience", err)
	}
}

func TestAHostWithoutDescriptorsRefuses(t *testing.T) {
	store := start(t).Store("s")
	v := speak(t, store)
	fd := pipeEnd(t)
	if got := v.ask(wire.KeeperMessage{Kind: wire.KeeperKeep, Name: "kept", Files: []int{fd, fd}}); got.Kind != wire.KeeperDone {
		t.Fatalf("got %+v", got)
	}
	free := 0
	for ; ; free++ {
		if _, err := unix.FcntlInt(uintptr(free), unix.F_GETFD, 0); err != nil {
			break
		}
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	before := len(openFiles(t))
	scarce := limit
	scarce.Cur = uint64(free + 1)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &scarce); err != nil {
		t.Fatal(err)
	}
	keep := v.ask(wire.KeeperMessage{Kind: wire.KeeperKeep, Name: "n", Files: []int{fd, fd, fd}})
	next := v.ask(wire.KeeperMessage{Kind: wire.KeeperNext})
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	for _, answer := range []wire.KeeperMessage{keep, next} {
		if !strings.HasPrefix(string(answer.Data), "the host has no descriptors left (ulimit -n)") {
			t.Errorf("got %+v %q", answer, answer.Data)
		}
	}
	if got := len(openFiles(t)); got != before {
		t.Errorf("%d descriptors before, %d after", before, got)
	}
	if got, want := v.names(), []string{"kept=+2"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
