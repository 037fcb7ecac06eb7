package cache

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
)

// onlyDisk is a config without room in memory.
func onlyDisk(dir string) *apiv1.Cache {
	return &apiv1.Cache{Memory: 1, MaxResponse: 1 << 20, Dir: dir}
}

// entries lists the files of entries.
func entries(tb testing.TB, dir string) []string {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*-*"))
	if err != nil {
		tb.Fatal(err)
	}
	return files
}

func TestADirectoryOutlivesItsCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "cache")
	w := newWorld(t, onlyDisk(dir))
	w.tell([]step{{answer: "Cache-Control: max-age=60 | Vary: X | X-A: \xe9", ask: "X: 1", want: miss}, {ask: "X: 2", want: miss}})
	w.open(onlyDisk(dir))
	w.tell([]step{{after: 5, ask: "X: 1", want: fresh, body: "1", header: "Age: 5"}, {ask: "X: 2", want: fresh, body: "2", header: "X-A: \xe9"}, {ask: "X: 3", want: miss}})
	for _, name := range append(entries(t, dir), dir) {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
}

func TestADirectoryIsAskedAboutLikeMemory(t *testing.T) {
	dir := t.TempDir() + "/cache"
	w := newWorld(t, onlyDisk(dir))
	w.tell([]step{{answer: `Cache-Control: max-age=10 | ETag: "a"`, want: miss}})
	w.open(onlyDisk(dir))
	w.tell([]step{{after: 20, answer: "304 | Cache-Control: max-age=10", want: revalidated, body: "1"}})
	w.open(onlyDisk(dir))
	w.tell([]step{{after: 5, want: fresh, body: "1"}, {ask: "POST /", answer: "204", want: none, status: 204}})
	if left := entries(t, dir); len(left) != 0 {
		t.Errorf("after an invalidation there are %v", left)
	}
}

func TestACorruptFileIsAMiss(t *testing.T) {
	dir := t.TempDir() + "/cache"
	w := newWorld(t, onlyDisk(dir))
	w.tell([]step{{answer: "Cache-Control: max-age=60 | Body: the body", want: miss}})
	name := entries(t, dir)[0]
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		torn := bytes.Clone(whole)
		torn[i] ^= 0x10
		if e, err := decode(torn); err == nil {
			t.Fatalf("with byte %d changed it was read as %+v", i, e)
		}
		if _, err := decode(whole[:i]); err == nil {
			t.Fatalf("the first %d bytes were read", i)
		}
	}
	if err := os.WriteFile(name, whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	w.tell([]step{{answer: "Cache-Control: no-store", want: miss}})
	if left := entries(t, dir); len(left) != 0 {
		t.Errorf("the torn file is still there: %v", left)
	}
}

func TestAnotherEntryUnderTheNameIsAMiss(t *testing.T) {
	dir := t.TempDir() + "/cache"
	w := newWorld(t, onlyDisk(dir))
	w.tell([]step{{ask: "GET /a", answer: "Cache-Control: max-age=60", want: miss}})
	a := entries(t, dir)[0]
	w.tell([]step{{ask: "GET /b", want: miss}})
	for _, b := range entries(t, dir) {
		if b != a {
			if err := os.Rename(b, a); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.tell([]step{{ask: "GET /a", want: miss, body: "3"}})
}

func TestADirectoryIsBounded(t *testing.T) {
	dir := t.TempDir() + "/cache"
	config := onlyDisk(dir)
	config.Disk = 256 << 10
	w := newWorld(t, config)
	w.answers("Cache-Control: max-age=60 | Body: " + strings.Repeat("x", 10<<10))
	used := func() (sum int64) {
		for _, name := range entries(t, dir) {
			if info, err := os.Stat(name); err == nil {
				sum += onDisk(info.Size())
			}
		}
		return sum
	}
	for i := range 100 {
		w.ask(fmt.Sprintf("GET /%d", i))
		if got := used(); got > 256<<10 {
			t.Fatalf("%d bytes after %d responses", got, i)
		}
	}
	w.tell([]step{{ask: "GET /99", want: fresh}})
	config.Disk = 64 << 10 // less than there is
	w.open(config)
	if got := used(); got > 64<<10 || got == 0 {
		t.Errorf("%d bytes after a start with a lower bound", got)
	}
	w.tell([]step{{ask: "GET /99", want: fresh}})
}

func TestFilesOfOthersStay(t *testing.T) {
	dir := t.TempDir() + "/cache"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "notes-of-mine")
	temp := filepath.Join(dir, "ABC.tmp")
	for _, name := range []string{other, temp} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	newWorld(t, onlyDisk(dir))
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(temp); !os.IsNotExist(err) {
		t.Errorf("the temporary file of another life: %v", err)
	}
}

func TestTwoCachesShareADirectory(t *testing.T) {
	dir := t.TempDir() + "/cache"
	w := newWorld(t, onlyDisk(dir))
	w.tell([]step{{ask: "GET /a", answer: "Cache-Control: max-age=60", want: miss}})
	first := w.cache
	w.open(onlyDisk(dir))
	w.tell([]step{{ask: "GET /a", want: fresh}, {ask: "GET /b", want: miss}, {ask: "POST /a", want: none}})
	second := w.cache
	w.cache = first
	w.tell([]step{{ask: "GET /a", want: miss}, {ask: "GET /b", want: miss}}) // whose file is gone; not seen before a scan
	w.cache.disk.scan()
	w.tell([]step{{ask: "GET /b", want: fresh}})
	w.cache = second
	w.tell([]step{{ask: "GET /b", want: fresh}})
}

func TestADirectoryThatTakesNothingIsToldOfOnce(t *testing.T) {
	dir := t.TempDir() + "/cache"
	w := newWorld(t, &apiv1.Cache{Dir: dir})
	var warnings []string
	w.cache.disk.warn = func(text string, fields ...any) { warnings = append(warnings, fmt.Sprint(text, fields)) }
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		w.tell([]step{{ask: fmt.Sprintf("GET /%d", i), answer: "Cache-Control: max-age=60", want: miss}, {ask: fmt.Sprintf("GET /%d", i), want: fresh}})
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "takes nothing") {
		t.Errorf("got %q", warnings)
	}
}

func TestAProfileWithOtherSecretsHasAnotherCache(t *testing.T) {
	dir := t.TempDir() + "/cache"
	w := newWorld(t, onlyDisk(dir))
	open := func(bearer string) {
		c, err := Open(onlyDisk(dir), Options{Now: w.time, Profiles: map[string]*apiv1.Profile{"p": {Bearer: bearer}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		c.Over(w.server.Client().Transport)
		w.cache = c
	}
	open("mine")
	w.tell([]step{{ask: "Profile: p", answer: "Cache-Control: max-age=60", want: miss}, {ask: "Profile: p", want: fresh}})
	open("yours")
	w.tell([]step{{ask: "Profile: p", want: miss}})
	open("mine")
	w.tell([]step{{ask: "Profile: p", want: fresh, body: "1"}})
	for _, name := range append(entries(t, dir), filepath.Join(dir, saltFile)) {
		data, err := os.ReadFile(name)
		if err != nil || bytes.Contains(data, []byte("mine")) || bytes.Contains(data, []byte("yours")) {
			t.Errorf("the secret is in %s, or %v", name, err)
		}
	}
}

// TestTheProcessThatIsKilled is the process of the test below: it keeps
// responses until it is killed.
func TestTheProcessThatIsKilled(t *testing.T) {
	dir := os.Getenv("GAIA_TEST_CACHE")
	if dir == "" {
		t.Skip("is run by TestAKilledProcessLeavesWholeEntries")
	}
	w := newWorld(t, onlyDisk(dir))
	w.answers("Cache-Control: max-age=6000 | Body: " + strings.Repeat("x", 300<<10))
	for i := 0; ; i++ {
		w.ask(fmt.Sprintf("GET /%d", i%50))
		if i%10 == 0 {
			w.ask(fmt.Sprintf("POST /%d", i%50))
		}
		if i == 20 {
			_, _ = os.Stdout.WriteString("runs\n")
		}
	}
}

func TestAKilledProcessLeavesWholeEntries(t *testing.T) {
	dir := t.TempDir() + "/cache"
	for life := range 5 {
		command := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestTheProcessThatIsKilled$")
		command.Env = append(os.Environ(), "GAIA_TEST_CACHE="+dir)
		out, err := command.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		_, _ = out.Read(make([]byte, 1))
		for range life * 14 { // somewhere in the middle of something
			_, _ = os.ReadDir(dir)
		}
		_ = command.Process.Kill()
		_ = command.Wait()
		w := newWorld(t, onlyDisk(dir))
		files := entries(t, dir)
		if len(files) == 0 {
			t.Fatal("no entries")
		}
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if e, err := decode(data); err != nil || len(e.Body) != 300<<10 {
				t.Errorf("life %d: %s: %v", life, name, err)
			}
		}
		if temps, _ := filepath.Glob(dir + "/*" + temporary); len(temps) != 0 {
			t.Errorf("life %d: temporary files are left: %v", life, temps)
		}
		_ = w.cache.Close()
	}
}
