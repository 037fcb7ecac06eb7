package slot

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
)

const shell = browserv1.Engine_HEADLESS_SHELL

// run keeps the pool until the test ends.
func run(t *testing.T, p *Pool) {
	t.Helper()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.Run(t.Context())
	}()
	t.Cleanup(func() { <-ended })
}

func TestABrowserThatIsTooOldIsReplacedBeforeItGoes(t *testing.T) {
	p, meter := open(t, func(o *Options) { o.MaxBrowsers, o.MaxTabs, o.MaxAge = 2, 4, 2*time.Second })
	held := hold(t, p, Need{Engine: shell, Client: "a"})
	old := held.browser
	run(t, p)
	eventually(t, "the old one is retired", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		if old.retiring && len(p.browsers) != 2 {
			t.Fatalf("%d browsers at the time, want the old and the new one", len(p.browsers))
		}
		return old.retiring
	})
	next := hold(t, p, Need{Engine: shell, Client: "a"})
	if next.browser == old {
		t.Error("the old browser got another job")
	}
	if err := held.Tab.Err(); err != nil {
		t.Errorf("the job in the old browser: %v", err)
	}
	p.Release(held, Reset)
	eventually(t, "the old one ends", func() bool { return old.Err() != nil })
	p.Release(next, Strict)
	if meter.of("age") != 1 {
		t.Errorf("recycled: got %v, want one for its age", meter.recycled)
	}
}

func TestWhatIsIdleForLongEnds(t *testing.T) {
	p, meter := open(t, func(o *Options) { o.IdleTimeout = time.Second })
	s := hold(t, p, Need{Engine: shell, Client: "a", Reset: true})
	b := s.browser
	p.Release(s, Reset)
	run(t, p)
	eventually(t, "no browser is left", func() bool { return p.Counts().Browsers == 0 })
	if b.Err() == nil || meter.of("idle") != 1 {
		t.Errorf("browser: %v, recycled: %v", b.Err(), meter.recycled)
	}
}

func TestASlotIsReplacedAfterItsUses(t *testing.T) {
	p, meter := open(t, func(o *Options) { o.MaxUses = 3 })
	need := Need{Engine: shell, Client: "a", Reset: true}
	var uses []*Slot
	for range 4 {
		s := hold(t, p, need)
		uses = append(uses, s)
		p.Release(s, Reset)
	}
	if uses[0] != uses[2] || uses[2] == uses[3] || meter.of("uses") != 1 {
		t.Errorf("slots: %p, recycled: %v; want three uses of the first", uses, meter.recycled)
	}
}

func TestASlotThatWasOnTheSiteIsPreferred(t *testing.T) {
	p, _ := open(t, func(o *Options) { o.MaxTabs = 3 })
	on := func(site string) Need { return Need{Engine: shell, Client: "a", Site: site, Reset: true} }
	one, two, three := hold(t, p, on("http://one.test")), hold(t, p, on("http://two.test")), hold(t, p, on("http://three.test"))
	for i, s := range []*Slot{two, one, three} {
		p.Release(s, Reset)
		eventually(t, "it is wiped", func() bool { return p.Counts().Wiped == i+1 })
	}
	for site, want := range map[string]*Slot{"http://one.test": one, "http://two.test": two, "http://four.test": three} {
		s := hold(t, p, on(site))
		if s != want {
			t.Errorf("%s: got the slot of %s", site, s.site)
		}
		p.Release(s, Strict)
	}
}

// stopped browsers answer nothing, and their pipe does not end.
func TestABrowserThatHangsIsKilled(t *testing.T) {
	p, _ := open(t, nil)
	s := hold(t, p, Need{Engine: shell, Client: "a"})
	if err := syscall.Kill(-s.browser.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	run(t, p)
	begin := time.Now()
	<-s.Tab.Ended()
	t.Log("noticed after", time.Since(begin).Round(time.Second))
	p.Release(s, Strict)
	p.Release(hold(t, p, Need{Engine: shell, Client: "a"}), Strict)
}

// Chromium's crash handlers are in groups of their own. They end when nobody is
// left whose crash they could handle.
func TestNothingOfAKilledBrowserIsLeft(t *testing.T) {
	for _, kind := range []Engine{shell, browserv1.Engine_CHROMIUM} {
		p, _ := open(t, nil)
		if _, ok := p.Programs[kind]; !ok {
			t.Skipf("%v is not installed here", kind)
		}
		s := hold(t, p, Need{Engine: kind, Client: "a"})
		home := p.Launch.Home.Dir()
		if len(with(t, home)) == 0 {
			t.Errorf("%v: no process names %s", kind, home)
		}
		if err := syscall.Kill(s.browser.PID(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-s.browser.Done()
		p.Release(s, Strict)
		eventually(t, "all its processes have ended", func() bool { return len(with(t, home)) == 0 })
	}
}

// with are the processes that have a text in their arguments.
func with(t *testing.T, text string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(files, func(file string) bool {
		args, _ := os.ReadFile(file) // it may have ended
		return !strings.Contains(string(args), text)
	})
}
