package sdk

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestWithoutAKeeperEverythingSaysSo(t *testing.T) {
	_, keptErr := Kept()
	_, exitErr := AwaitExit(t.Context(), "n")
	for name, err := range map[string]error{
		"Keep": Keep("n", nil, os.Stdin), "KeepData": KeepData("n", nil), "Forget": Forget("n"), "Kept": keptErr, "AwaitExit": exitErr,
	} {
		if !errors.Is(err, ErrKeepUnavailable) {
			t.Errorf("%s: got %v, want %v", name, err, ErrKeepUnavailable)
		}
	}
}

func TestWhatCannotBeKeptIsRefusedAtOnce(t *testing.T) {
	closed, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		got  error
		want string
	}{
		{Keep("", nil), `keep "": no name to keep anything under`},
		{Keep("n", make([]byte, 64<<10+1)), `keep "n": data of 65537 bytes, limit 65536`},
		{Keep("n", nil, make([]*os.File, 17)...), `keep "n": 17 files under one name, limit 16`},
		{Keep("n", nil, nil), `keep "n": file 0: invalid argument`},
		{Keep("n", nil, os.Stdin, closed), `keep "n": file 1: use of closed file`},
		{Forget(strings.Repeat("n", 300)), `forget "` + strings.Repeat("n", 200) + `": a name of 300 bytes, limit 200`},
	}
	for _, test := range tests {
		if test.got == nil || test.got.Error() != test.want {
			t.Errorf("got %v, want %s", test.got, test.want)
		}
	}
}

func TestExitStatusInWords(t *testing.T) {
	for want, status := range map[string]ExitStatus{
		"exit code 7":       {Code: 7},
		"signal 9 (killed)": {Code: -1, Signal: syscall.SIGKILL},
	} {
		if got := status.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
