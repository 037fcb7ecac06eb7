package logs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// BenchmarkCapture measures what a child sees of the speed at which its output is
// taken, and what that costs this process. The peers of the same run are a child that
// writes the file itself, which is the ceiling, and a loop of read and write.
func BenchmarkCapture(b *testing.B) {
	kinds := []struct {
		name          string
		total, atOnce int
	}{
		{"64KiB_writes", 1 << 30, 64 << 10},
		{"10000B_writes", 1 << 29, 10000},
		{"4KiB_writes", 1 << 29, 4 << 10},
		{"single_lines", 1 << 26, 100},
	}
	for _, k := range kinds {
		role := fmt.Sprintf("pour %d %d", k.total, k.atOnce)
		b.Run(k.name+"/child_owns_file", func(b *testing.B) { benchmarkCapture(b, role, k.total, nil) })
		b.Run(k.name+"/read_write", func(b *testing.B) { benchmarkCapture(b, role, k.total, copyLoop) })
		b.Run(k.name+"/log_spill", func(b *testing.B) {
			benchmarkCapture(b, role, k.total, func(b *testing.B, dir string, pipe *os.File) {
				b.Helper()
				captureLog(b, dir, pipe, Policy{WhenSlow: Spill})
			})
		})
		b.Run(k.name+"/log", func(b *testing.B) {
			benchmarkCapture(b, role, k.total, func(b *testing.B, dir string, pipe *os.File) {
				b.Helper()
				captureLog(b, dir, pipe, Policy{})
			})
		})
	}
}

func benchmarkCapture(b *testing.B, role string, total int, capture func(b *testing.B, dir string, pipe *os.File)) {
	b.Helper()
	var seconds, cpu float64
	for b.Loop() {
		dir := b.TempDir()
		cmd := self(b, role)
		var told bytes.Buffer
		cmd.Stderr = &told
		var out, pipe *os.File
		var err error
		if capture == nil {
			out, err = os.Create(filepath.Join(dir, "log"))
		} else {
			pipe, out, err = os.Pipe()
		}
		if err != nil {
			b.Fatal(err)
		}
		cmd.Stdout = out
		before := cpuTime(b)
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		out.Close()
		if capture != nil {
			capture(b, dir, pipe)
		}
		if err := cmd.Wait(); err != nil {
			b.Fatal(err)
		}
		cpu += (cpuTime(b) - before).Seconds()
		took, err := strconv.ParseFloat(told.String(), 64)
		if err != nil {
			b.Fatal(err)
		}
		seconds += took
		os.RemoveAll(dir)
	}
	n := float64(b.N)
	b.ReportMetric(float64(total)*n/seconds/1e6, "MB/s")
	b.ReportMetric(cpu/n/(float64(total)/1e9), "cpu-s/GB")
}

func copyLoop(b *testing.B, dir string, pipe *os.File) {
	b.Helper()
	to, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		b.Fatal(err)
	}
	defer to.Close()
	buffer := make([]byte, 256<<10)
	for {
		n, err := pipe.Read(buffer)
		if n == 0 || err != nil {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			b.Fatal(err)
		}
	}
}

func captureLog(b *testing.B, dir string, pipe *os.File, p Policy) {
	b.Helper()
	l, err := NewStore(dir, 0).Open("p", p)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	if err := l.Capture(b.Context(), pipe); err != nil {
		b.Fatal(err)
	}
}

// cpuTime is what this process has used, without its children.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkIdle measures what 200 processes cost that write nothing: memory of this
// process for each, and its processor time in a second.
func BenchmarkIdle(b *testing.B) {
	const processes = 200
	for b.Loop() {
		s := NewStore(b.TempDir(), 10<<30)
		ctx, cancel := context.WithCancel(b.Context())
		var captures sync.WaitGroup
		var pipes []*os.File
		before := memory(b)
		for n := range processes {
			l, err := s.Open(strconv.Itoa(n), Policy{})
			if err != nil {
				b.Fatal(err)
			}
			r, w, err := os.Pipe()
			if err != nil {
				b.Fatal(err)
			}
			pipes = append(pipes, w)
			captures.Go(func() {
				_ = l.Capture(ctx, r)
				l.Close()
			})
			if _, err := w.WriteString("started\n"); err != nil {
				b.Fatal(err)
			}
		}
		<-time.After(100 * time.Millisecond)
		used := cpuTime(b)
		<-time.After(time.Second)
		b.ReportMetric((cpuTime(b)-used).Seconds()*100, "%-idle-cpu")
		b.ReportMetric(float64(memory(b)-before)/processes/1024, "KiB/process")
		cancel()
		captures.Wait()
		for _, w := range pipes {
			w.Close()
		}
	}
}

// memory is the proportional set size of this process.
func memory(b *testing.B) int64 {
	b.Helper()
	runtime.GC()
	rollup, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		b.Skip(err)
	}
	_, after, _ := strings.Cut(string(rollup), "\nPss:")
	kib, _, _ := strings.Cut(strings.TrimSpace(after), " ")
	n, err := strconv.ParseInt(kib, 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return n << 10
}

// BenchmarkLatency measures how long a line takes from the process to a follower.
func BenchmarkLatency(b *testing.B) {
	l, err := NewStore(b.TempDir(), 0).Open("p", Policy{})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	r, w, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	heard := make(chan struct{})
	var ends sync.WaitGroup
	ends.Go(func() { _ = l.Capture(b.Context(), r) })
	ends.Go(func() {
		_ = l.Read(b.Context(), From{}, true, func(Chunk) error {
			heard <- struct{}{}
			return nil
		})
	})
	var waited time.Duration
	for b.Loop() {
		<-time.After(3 * time.Millisecond) // a line after a silence
		began := time.Now()
		if _, err := w.WriteString("a line\n"); err != nil {
			b.Fatal(err)
		}
		<-heard
		waited += time.Since(began)
	}
	b.ReportMetric(float64(waited.Microseconds())/float64(b.N), "µs/line")
	w.Close()
	l.Close()
	ends.Wait()
}
