package keeper

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestJudge(t *testing.T) {
	k := New()
	defer func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) }()
	living := &Session{number: 1, pid: 100}
	over := &Session{number: 2, pid: 200, dead: true, served: true}
	dying := &Session{number: 3, pid: 300, dead: true}
	launching := &Session{number: 4}
	for _, s := range []*Session{living, over, dying, launching} {
		k.sessions[s.number] = s
	}
	store := k.Store("s")
	k.stores[store] = struct{}{}
	store.entries = []*entry{
		{process: &process{pid: 1000, own: true, mark: markWith(2, 1)}},
		{process: &process{pid: 2000, own: true, mark: unmarked, ended: true}},
		{process: &process{pid: 3000, mark: unmarked}}, // somebody else's
		{},
	}
	tests := []struct {
		name  string
		child child
		of    *Session
		want  verdict
	}{
		{"started by the host", child{5, 5, unmarked}, nil, foreign},
		{"started by the host together with an instance", child{unix.Getpgrp(), 5, markWith(2, 0)}, nil, foreign},
		{"an instance's", child{5, 5, markWith(1, 0)}, living, lives},
		{"an instance's that was kept and forgotten", child{5, 5, markWith(1, 77)}, living, lives},
		{"of an instance that has ended", child{5, 5, markWith(2, 0)}, over, dies},
		{"of one whose last words are not read", child{5, 5, markWith(3, 0)}, dying, lives},
		{"of one that is being started, or itself", child{5, 5, markWith(4, 0)}, nil, foreign},
		{"of one that ended long ago", child{5, 5, markWith(99, 0)}, nil, dies},
		{"a kept process's", child{5, 5, markWith(2, 1)}, over, lives},
		{"once a kept process's", child{5, 5, markWith(2, 2)}, over, dies},
		{"in the group of a kept process", child{1000, 5, markWith(2, 0)}, over, lives},
		{"in the session of a kept process that has ended", child{5, 2000, markWith(99, 0)}, nil, lives},
		{"in the group of a process that is kept as a file", child{3000, 3000, markWith(99, 0)}, nil, dies},
		{"that has lost its mark, in an instance's group", child{100, 5, unmarked}, living, lives},
		{"that has lost its mark, in the group of one that has ended", child{200, 5, unmarked}, over, dies},
		{"that has lost its mark, in the group of a kept process", child{1000, 5, unmarked}, nil, lives},
		{"marked by another host", child{5, 5, mark(1 << 63)}, nil, dies},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			of, got := k.judge(test.child, k.kept())
			if of != test.of || got != test.want {
				t.Errorf("got session %+v, verdict %d, want %+v, %d", of, got, test.of, test.want)
			}
		})
	}
}

func TestAMarkIsHandedDownAndSeenInAZombie(t *testing.T) {
	store := start(t).Store("s")
	i := launch(t, store, "leaver")
	want := markWith(i.session.number, 0)
	for range 6 {
		if pid := i.number("sleeper"); markOf(pid) != want {
			t.Errorf("process %d: got mark %x, want %x", pid, markOf(pid), want)
		}
	}
	_ = i.cmd.Process.Kill()
	awaitZombie(t, i.cmd.Process.Pid)
	if got := markOf(i.cmd.Process.Pid); got != want {
		t.Errorf("zombie: got mark %x, want %x", got, want)
	}
	if got := markOf(os.Getpid()); got != store.keeper.hostMark {
		t.Errorf("the host itself: got mark %x", got)
	}
	for _, number := range []uint64{1, 1<<numberBits - 1} {
		if m := markWith(number, 1<<serialBits-1); m.number() != number || m >= 1<<62 {
			t.Errorf("mark %x of number %x: got number %x", m, number, m.number())
		}
	}
	if got := unmarked.number(); got != 0 {
		t.Errorf("unmarked has number %x", got)
	}
}
