package pool

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/engine"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
)

// BenchmarkScreenshot opens a local page, checks its title and takes a PNG, by
// isolation and by how many do so at once. The processor time is that of the whole
// tree, this process included: it says more than jobs/s where others are at work.
func BenchmarkScreenshot(b *testing.B) {
	rows := strings.Repeat("<tr><td>one</td><td>two</td><td>three</td></tr>\n", 40)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/style.css":
			w.Header().Set("Content-Type", "text/css")
			_, _ = w.Write([]byte("td { padding: 4px; border: 1px solid #999 } body { font: 14px sans-serif }"))
		case "/script.js":
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = w.Write([]byte("for (let i = 0; i < 20; i++) { const p = document.createElement('p'); p.textContent = 'node ' + i; document.body.append(p) }"))
		default:
			w.Header().Set("Content-Type", "text/html")
			_, _ = fmt.Fprintf(w, "<!DOCTYPE html><title>Job %s</title><link rel=stylesheet href=/style.css><body><table>%s</table><script src=/script.js></script>", r.URL.Query().Get("job"), rows)
		}
	}))
	defer server.Close()
	for _, isolation := range []browserv1.Isolation{browserv1.Isolation_STRICT, browserv1.Isolation_RESET} {
		for _, callers := range []int{4, 8} {
			b.Run(fmt.Sprintf("%v/%d", isolation, callers), func(b *testing.B) {
				p := start(b, &browserv1.Config{MaxJobs: 16})
				var job atomic.Int64
				one := func() {
					n := job.Add(1)
					response, err := p.Screenshot(b.Context(), &browserv1.ScreenshotRequest{
						Url:  fmt.Sprintf("%s/?job=%d", server.URL, n),
						Page: &browserv1.Page{Client: "a", Isolation: isolation, Viewport: &browserv1.Viewport{Width: 800, Height: 600}},
					})
					if err != nil || response.GetPage().GetTitle() != fmt.Sprintf("Job %d", n) || len(response.GetContent()) < 1000 {
						b.Errorf("job %d: %v, %v", n, response.GetPage(), err)
					}
				}
				one()
				before := treeCPU(b)
				b.ResetTimer()
				var left atomic.Int64
				left.Store(int64(b.N))
				var group sync.WaitGroup
				for range callers {
					group.Go(func() {
						for left.Add(-1) >= 0 {
							one()
						}
					})
				}
				group.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
				b.ReportMetric(float64((treeCPU(b)-before).Milliseconds())/float64(b.N), "cpu-ms/job")
			})
		}
	}
}

// treeCPU is the processor time of this process, of its browsers and of those of
// their processes that have ended.
func treeCPU(b *testing.B) time.Duration {
	b.Helper()
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		b.Fatal(err)
	}
	total := time.Duration(own.Utime.Nano() + own.Stime.Nano())
	for _, processes := range new(engine.Sampler).Sample(children(b)) {
		for _, p := range processes {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID))
			if err != nil {
				continue
			}
			for _, field := range bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])[11:15] { // utime, stime, cutime, cstime
				ticks, _ := strconv.Atoi(string(field))
				total += time.Duration(ticks) * 10 * time.Millisecond
			}
		}
	}
	return total
}
