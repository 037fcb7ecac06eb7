package wire

import (
	"bytes"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func FuzzDecodeKeeperMessage(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 1})
	f.Add([]byte{1, 0, 255, 255, 0, 0, 0, 1, 'n'})
	f.Add(AppendKeeperMessage(nil, KeeperMessage{Kind: KeeperKeep, ID: 7, Name: "process/web-1", Data: []byte("data")}))
	f.Add(AppendKeeperMessage(nil, KeeperMessage{Kind: KeeperExited, Data: AppendKeptExit(nil, KeptExit{Status: 7 << 8})}))
	f.Fuzz(func(t *testing.T, packet []byte) {
		m, err := DecodeKeeperMessage(packet)
		if err != nil {
			return
		}
		if got := AppendKeeperMessage(nil, m); !bytes.Equal(got, packet) {
			t.Errorf("got %q, want %q", got, packet)
		}
		if e, err := DecodeKeptExit(m.Data); err == nil && !bytes.Equal(AppendKeptExit(nil, e), m.Data) {
			t.Errorf("exit %v: got %q, want %q", e, AppendKeptExit(nil, e), m.Data)
		}
	})
}

func TestAnExitTravels(t *testing.T) {
	want := KeptExit{Status: syscall.WaitStatus(7 << 8), At: time.Unix(1700000000, 123456789)}
	got, err := DecodeKeptExit(AppendKeptExit(nil, want))
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("got %+v, error %v, want %+v", got, err, want)
	}
}

func TestCheckKeptNamesTheBound(t *testing.T) {
	tests := []struct {
		name  string
		data  int
		files int
		want  string
	}{
		{string(make([]byte, MaxKeptName)), MaxKeptData, MaxKeptFiles, ""},
		{"", 0, 0, "no name to keep anything under"},
		{string(make([]byte, MaxKeptName+1)), 0, 0, "a name of 201 bytes, limit 200"},
		{"n", MaxKeptData + 1, 0, "data of 65537 bytes, limit 65536"},
		{"n", 0, MaxKeptFiles + 1, "17 files under one name, limit 16"},
	}
	for _, test := range tests {
		var got string
		if err := CheckKept(test.name, slices.Repeat([]byte{0}, test.data), test.files); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}
