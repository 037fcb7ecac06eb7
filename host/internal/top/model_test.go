package top

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// screenOf is what a user sees after messages.
func screenOf(t *testing.T, messages ...tea.Msg) string {
	t.Helper()
	var m tea.Model = newModel(time.Second, questions{
		stats:   func() tea.Msg { return nil },
		details: func(Subsystem) tea.Msg { return nil },
	})
	for _, msg := range messages {
		m, _ = m.Update(msg)
	}
	return ansi.Strip(m.View().Content)
}

// press is a key, or the rune of one.
func press(code rune) tea.Msg { return tea.KeyPressMsg{Code: code, Text: string(code)} }

// fleet is a reading of many subsystems, whose calls grow by their number each second.
func fleet(second, count int) statsMsg {
	r := answer(time.Duration(second)*time.Second, &hostv1.SubsystemStats{})
	r.Subsystems, r.Status.Subsystems = nil, nil
	for i := range count {
		name := fmt.Sprintf("sub_%02d", i)
		r.Status.Subsystems = append(r.Status.Subsystems, &hostv1.Subsystem{Name: name, State: hostv1.State_READY})
		r.Subsystems = append(r.Subsystems, &hostv1.SubsystemStats{Name: name, Methods: []*hostv1.MethodStats{
			{Name: "f.v1.F/Read", Calls: uint64(second * i), Buckets: []uint64{uint64(second * i), 0, 0}},
		}})
	}
	return statsMsg{stats: r, at: started().Add(time.Duration(second) * time.Second)}
}

func TestTheBusiestSubsystemIsFirst(t *testing.T) {
	t.Parallel()
	got := screenOf(t, fleet(1, 3), fleet(2, 3))
	first, last := strings.Index(got, "sub_02 "), strings.Index(got, "sub_00 ")
	if first < 0 || last < first || !strings.Contains(got, "3.0 calls/s") {
		t.Errorf("want sub_02 before sub_00, and 3 calls/s in all, in:\n%s", got)
	}
	if !strings.Contains(got, "F/Read") {
		t.Errorf("want the methods of the first row in:\n%s", got)
	}
}

func TestThereIsAScreenBeforeTheFirstAnswer(t *testing.T) {
	t.Parallel()
	for want, messages := range map[string][]tea.Msg{
		"asking the host…":              {press('j'), press('\r')},
		"no host answers; trying again": {statsMsg{err: errors.New("no host answers"), at: started()}},
	} {
		if got := screenOf(t, messages...); !strings.Contains(got, want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
}

func TestTheSelectedRowStaysInSight(t *testing.T) {
	t.Parallel()
	messages := []tea.Msg{fleet(1, 40), fleet(2, 40)}
	for range 45 {
		messages = append(messages, press('j'))
	}
	got := screenOf(t, messages...)
	if !strings.Contains(got, "▌ sub_00") || !strings.Contains(got, "─ sub_00 ─") {
		t.Errorf("want the last row selected, and its details, in:\n%s", got)
	}
}

func TestAScreenFitsItsTerminal(t *testing.T) {
	t.Parallel()
	details := detailsMsg{subsystem: "sub_02", details: &Details{
		Method:   "f.v1.F/Read",
		Policies: []*hostv1.Policy{{Name: "bulkhead", State: "0 in flight", Settings: []*hostv1.Setting{{Path: "limits.concurrency", Value: "500"}}}},
		Events:   []*hostv1.EventsResponse{{Time: timestamppb.New(started()), Kind: "exited", Reason: "exit code 1\x1b[2J"}},
	}}
	for _, size := range []tea.WindowSizeMsg{{Width: 80, Height: 24}, {Width: 200, Height: 60}, {Width: 40, Height: 10}, {Width: 10, Height: 3}, {Width: 1, Height: 1}} {
		got := screenOf(t, size, fleet(1, 3), fleet(2, 3), details)
		lines := strings.Split(got, "\n")
		if len(lines) != size.Height {
			t.Errorf("%dx%d: %d lines", size.Width, size.Height, len(lines))
		}
		for _, line := range lines {
			if width := lipgloss.Width(line); width > size.Width {
				t.Errorf("%dx%d: a line of %d: %q", size.Width, size.Height, width, line)
			}
		}
	}
	got := screenOf(t, tea.WindowSizeMsg{Width: 80, Height: 24}, fleet(1, 3), fleet(2, 3), details)
	for _, want := range []string{"CALLS/S", "P95", "FLIGHT", "QUEUE", "REJ/S", "RST", "MEMORY", "CPU", "limits.concurrency = 500", "exited: exit code 1\ufffd[2J", "q quit"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing at 80x24 in:\n%s", want, got)
		}
	}
}

func TestALostHostIsSaidAndItsReturn(t *testing.T) {
	t.Parallel()
	lost := statsMsg{err: errors.New("no host answers at run/gaia.sock"), at: started().Add(3 * time.Second)}
	got := screenOf(t, fleet(1, 3), fleet(2, 3), lost)
	if !strings.Contains(got, "no host answers at run/gaia.sock since 15:00:03; trying again") || !strings.Contains(got, "sub_02") {
		t.Errorf("want the complaint, and what was known last, in:\n%s", got)
	}
	if got := screenOf(t, fleet(1, 3), fleet(2, 3), lost, fleet(9, 3)); !strings.Contains(got, "the host answers again") {
		t.Errorf("no word of its return in:\n%s", got)
	}
	other := fleet(1, 3)
	other.stats.Status.StartedAt = timestamppb.New(started().Add(time.Hour))
	if got := screenOf(t, fleet(1, 3), fleet(2, 3), lost, other); !strings.Contains(got, "the host was started again at") || strings.Contains(got, "3.0 calls/s") {
		t.Errorf("want word of the new run, and no rates of the old one, in:\n%s", got)
	}
}

func TestTheBusiestClientsAreShown(t *testing.T) {
	t.Parallel()
	first, second := fleet(1, 3), fleet(2, 3)
	for i := range 9 {
		name := fmt.Sprintf("client-%d", i)
		first.stats.Clients = append(first.stats.Clients, &hostv1.ClientStats{Name: name})
		second.stats.Clients = append(second.stats.Clients, &hostv1.ClientStats{Name: name, Calls: uint64(10 * i), Rejected: 4, InFlight: 2})
	}
	got := screenOf(t, tea.WindowSizeMsg{Width: 80, Height: 40}, first, second)
	for _, want := range []string{"IN FLIGHT  and 4 more", "client-8       80    4.0          2"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
	if strings.Contains(got, "client-0") {
		t.Errorf("an idle client is shown where there are busy ones:\n%s", got)
	}
}

func TestKeysSortAndPause(t *testing.T) {
	t.Parallel()
	sorted := screenOf(t, fleet(1, 3), fleet(2, 3), press('h'), press('h'), press('r'))
	if !strings.Contains(sorted, "sorted by SUBSYSTEM") || strings.Index(sorted, "sub_02 ") > strings.Index(sorted, "sub_00 ") {
		t.Errorf("want names in reverse order in:\n%s", sorted)
	}
	m := newModel(time.Second, questions{})
	paused, _ := m.Update(press('p'))
	if _, cmd := paused.Update(tickMsg{}); cmd == nil {
		t.Error("a paused screen does not wake up again")
	}
	if _, cmd := m.Update(press('q')); cmd == nil || cmd() != tea.Quit() {
		t.Error("q does not quit")
	}
}

func TestTheIntervalGoesUpAndDown(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, c := range []struct {
		given time.Duration
		by    int
		want  time.Duration
	}{
		{time.Second, 1, 2 * time.Second},
		{time.Second, -1, 500 * ms},
		{300 * ms, 1, 500 * ms},
		{300 * ms, -1, 250 * ms},
		{100 * ms, -1, 100 * ms},
		{time.Hour, 1, time.Minute},
	} {
		if got := step(c.given, c.by); got != c.want {
			t.Errorf("%v %+d: %v, want %v", c.given, c.by, got, c.want)
		}
	}
}
