package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// logs has a child write a gigabyte to its output, as fast as it can.
func (b processesBench) logs(ctx context.Context) (t Table, err error) {
	b.progress("processes: a child writes %d MiB, %d rounds", logSize>>20, b.Rounds)
	contestants := []struct {
		what    string
		capture func(context.Context) (cpu time.Duration, known bool, err error)
	}{
		{"the child's own file", b.ownFile},
		{"read and write by os/exec", b.copied},
		{"gaia", func(ctx context.Context) (time.Duration, bool, error) { return b.captured(ctx, slowDefault) }},
		{"gaia, when_slow: BLOCK", func(ctx context.Context) (time.Duration, bool, error) { return b.captured(ctx, slowBlock) }},
	}
	t = Table{Title: fmt.Sprintf("a child writes %d MiB in pieces of %d KiB", logSize>>20, logWrite>>10), Columns: []Column{
		{Name: "mb_per_second", Head: "MB/S"},
		{Name: "ratio", Head: "RATIO", Digits: 2},
		{Name: "cpu_seconds_per_gb", Head: "CPU S/GB", Digits: 2},
	}}
	rounds := make([][]Figures, len(contestants))
	for range b.Rounds {
		for i, c := range contestants {
			began := time.Now()
			cpu, known, err := c.capture(ctx)
			if err != nil {
				return Table{}, fmt.Errorf("%s: %w", c.what, err)
			}
			figures := Figures{"mb_per_second": logSize / 1e6 / time.Since(began).Seconds()}
			if known {
				figures["cpu_seconds_per_gb"] = cpu.Seconds() * 1e9 / logSize
			}
			rounds[i] = append(rounds[i], figures)
		}
	}
	for i, c := range contestants {
		ratios(rounds[i], rounds[0], "mb_per_second")
		t.Rows = append(t.Rows, medians(c.what, rounds[i]))
	}
	t.Rows, err = b.beside(t.Rows, func(p peer, dir string) (Figures, error) { return p.logs(ctx, dir) })
	return t, err
}

func (b processesBench) writer(ctx context.Context) *exec.Cmd {
	arguments := []string{"if=/dev/zero", "bs=" + strconv.Itoa(logWrite), "count=" + strconv.Itoa(logSize/logWrite)}
	cmd := exec.CommandContext(ctx, b.programs["dd"], arguments...) //nolint:gosec // G204: dd
	cmd.Stderr = new(bytes.Buffer)
	return cmd
}

// ownFile captures nothing: there is nothing faster.
func (b processesBench) ownFile(ctx context.Context) (time.Duration, bool, error) {
	file, err := os.Create(filepath.Join(b.dir, "own"))
	if err != nil {
		return 0, false, err
	}
	defer os.Remove(file.Name()) //nolint:errcheck // with the directory
	defer file.Close()
	cmd := b.writer(ctx)
	cmd.Stdout = file
	return 0, true, cmd.Run()
}

// copied is what a program does that hands an io.Writer to os/exec.
func (b processesBench) copied(ctx context.Context) (time.Duration, bool, error) {
	file, err := os.Create(filepath.Join(b.dir, "copied"))
	if err != nil {
		return 0, false, err
	}
	defer os.Remove(file.Name()) //nolint:errcheck // with the directory
	defer file.Close()
	before, known := cpuTime([]int{os.Getpid()})
	cmd := b.writer(ctx)
	cmd.Stdout = struct{ io.Writer }{file} // no file that could be handed to the child
	err = cmd.Run()
	after, stillKnown := cpuTime([]int{os.Getpid()})
	return after - before, known && stillKnown, err
}

// captured has the process manager keep the log, and do so when the disk is slow.
func (b processesBench) captured(ctx context.Context, whenSlow uint64) (time.Duration, bool, error) {
	before, known := cpuTime([]int{b.plugin()})
	policy := fields(nil).number(5, whenSlow)
	if _, err := b.start(ctx, "writer", "writer", fields(nil).text(5, string(policy))); err != nil {
		return 0, false, err
	}
	process, err := b.call(ctx, "Wait", fields(nil).text(1, "writer"))
	if err != nil {
		return 0, false, err
	}
	after, stillKnown := cpuTime([]int{b.plugin()})
	if state, end := varint(process, stateNumber), varint(process, logEndNumber); state != stateExited || end < logSize {
		return 0, false, fmt.Errorf("the writer is in state %d with a log of %d bytes, want %d with %d", state, end, stateExited, logSize)
	}
	_, err = b.call(ctx, "Remove", fields(nil).text(1, "writer"))
	return after - before, known && stillKnown, err
}
