package confine

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain makes the test binary its own fleet: called by the name of a
// behaviour, it behaves so.
func TestMain(m *testing.M) {
	if behave, ok := fleet()[filepath.Base(os.Args[0])]; ok {
		behave()
		return
	}
	m.Run()
}

func fleet() map[string]func() {
	return map[string]func(){
		"ends":        func() {},
		"waits":       waitForInput,
		"hogs":        hog,
		"spins":       spin,
		"opens-files": openUntilRefused,
		"has-daemons": haveDaemons,
	}
}

// soon is far more than anything here takes.
const soon = 20 * time.Second

const mib = 1 << 20

// waitForInput ends with its standard input, that is, with the test.
func waitForInput() {
	fmt.Println("waiting") //nolint:forbidigo // it tells the test
	_, _ = os.Stdin.Read(make([]byte, 1))
}

// hog uses a MiB more for each line that it reads. The memory is not Go's, of
// which the race detector would need a multiple.
func hog() {
	held := 0
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); held++ {
		_, err := syscall.Mmap(-1, 0, mib, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON|syscall.MAP_POPULATE)
		fmt.Println(held, err) //nolint:forbidigo // it tells the test
	}
}

func spin() {
	for range runtime.NumCPU() {
		go func() {
			for n := 0; ; n++ {
				runtime.KeepAlive(n)
			}
		}()
	}
	waitForInput()
}

// openUntilRefused prints how many files it has opened above the standard ones,
// and why not more.
func openUntilRefused() {
	for n := 0; ; n++ {
		fd, err := syscall.Open("/dev/null", syscall.O_RDONLY, 0)
		if err != nil {
			fmt.Println(n, int(err.(syscall.Errno))) //nolint:errorlint,forbidigo // it tells the test
			return
		}
		_ = fd
	}
}

// haveDaemons starts a child in a session of its own, and one that has lost its
// parent as well, tells their pids and waits.
func haveDaemons() {
	child := &exec.Cmd{Path: "/bin/sh", Args: []string{"sh", "-c", "exec sleep 60"}, SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
	if err := child.Start(); err != nil {
		panic(err)
	}
	parent := &exec.Cmd{Path: "/bin/sh", Args: []string{"sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"}, SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
	orphan, err := parent.Output()
	if err != nil {
		panic(err)
	}
	fmt.Println(child.Process.Pid, strings.TrimSpace(string(orphan))) //nolint:forbidigo // it tells the test
	waitForInput()
}

// tree is a process that was launched in a group.
type tree struct {
	*exec.Cmd
	said  *bufio.Scanner
	input *os.File
}

// launch starts a behaviour, or a program if the name is a path, in a group. It
// is killed when the test ends.
func launch(t *testing.T, g *Group, name string, arguments ...string) *tree {
	t.Helper()
	cmd, out, in := command(t, name, arguments...)
	if err := g.Launch(cmd); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Stdout.(*os.File).Close()
	_ = cmd.Stdin.(*os.File).Close()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return &tree{Cmd: cmd, said: bufio.NewScanner(out), input: in}
}

func command(t *testing.T, name string, arguments ...string) (cmd *exec.Cmd, out, in *os.File) {
	t.Helper()
	path := name
	if !filepath.IsAbs(name) {
		var err error
		if path, err = os.Executable(); err != nil {
			t.Fatal(err)
		}
	}
	pipe := func() (r, w *os.File) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = r.Close(), w.Close() })
		return r, w
	}
	out, stdout := pipe()
	stdin, in := pipe()
	return &exec.Cmd{
		Path:        path,
		Args:        append([]string{name}, arguments...),
		Env:         []string{"PATH=/usr/bin:/bin"},
		Stdin:       stdin,
		Stdout:      stdout,
		Stderr:      os.Stderr,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	}, out, in
}

// line returns the next line that the process says; "" if it has ended.
func (p *tree) line(t *testing.T) string {
	t.Helper()
	p.said.Scan()
	if err := p.said.Err(); err != nil {
		t.Fatal(err)
	}
	return p.said.Text()
}

func (p *tree) numbers(t *testing.T) []int {
	t.Helper()
	var numbers []int
	line := p.line(t)
	for field := range strings.FieldsSeq(line) {
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		numbers = append(numbers, n)
	}
	return numbers
}

// Which hierarchies a test is about.
func anyHierarchy(hierarchy) bool { return true }
func noHierarchy(hierarchy) bool  { return false }
func unified(h hierarchy) bool    { return h.version == 2 }
func separate(h hierarchy) bool   { return h.version == 1 }
func onlyMemory(h hierarchy) bool { return h.version == 1 && h.limits(memory) }

// confiner returns one with an identity of its own that knows the wanted
// hierarchies only. It checks at the end that nothing is left of it.
func confiner(tb testing.TB, wanted func(hierarchy) bool) *Confiner {
	tb.Helper()
	c := New(tb.Name() + strconv.Itoa(os.Getpid()))
	c.hierarchies = slices.DeleteFunc(c.hierarchies, func(h hierarchy) bool { return !wanted(h) })
	tb.Cleanup(func() {
		for _, h := range c.hierarchies {
			left, err := filepath.Glob(filepath.Join(h.base, c.prefix+"*"))
			if err != nil || len(left) > 0 {
				tb.Errorf("left: %v, %v", left, err)
			}
		}
	})
	return c
}

// needs skips the test where no control group limits r.
func needs(t *testing.T, c *Confiner, r resource) {
	t.Helper()
	if k := c.keeper(r); k.why != nil {
		t.Skipf("%s: %v", r, k.why)
	}
}

// group returns a group that ends with the test.
func group(t *testing.T, c *Confiner, l Limits) *Group {
	t.Helper()
	g := c.Group("test", l)
	t.Cleanup(func() {
		g.Kill()
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

func (g *Group) directoryOf(t *testing.T, r resource) directory {
	t.Helper()
	d, err := g.directory(r)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// hasEnded reports whether a process is gone, or waits to be reaped by somebody.
func hasEnded(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	if !poll(soon, done) {
		t.Fatalf("waited in vain: %s", what)
	}
}
