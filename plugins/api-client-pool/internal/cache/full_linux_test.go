package cache

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
)

func TestAFullDiskIsMissesAndOneWarning(t *testing.T) {
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=128k,mode=700"); err != nil {
		t.Skipf("mounting a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(mount, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	w := newWorld(t, &apiv1.Cache{Dir: filepath.Join(mount, "cache"), Memory: 1, MaxResponse: 1 << 20})
	warnings := 0
	w.cache.disk.warn = func(string, ...any) { warnings++ }
	w.answers("Cache-Control: max-age=60 | Body: " + strings.Repeat("x", 40<<10))
	for i := range 20 {
		if got := w.ask(fmt.Sprintf("GET /%d", i)); got.err != nil || len(got.body) != 40<<10 {
			t.Fatal(got.err)
		}
	}
	w.tell([]step{{ask: "GET /0", want: fresh}, {ask: "GET /19", want: miss}})
	if warnings != 1 {
		t.Errorf("%d warnings, want 1", warnings)
	}
	if temps, _ := filepath.Glob(mount + "/cache/*" + temporary); len(temps) != 0 {
		t.Errorf("temporary files are left: %v", temps)
	}
}
