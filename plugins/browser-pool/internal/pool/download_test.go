package pool

import (
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/slot"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	egressv1 "github.com/gaia-go/gaia/proto/gaia/egress/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// files serves a file of any name and size, /file?name=…&size=…, of unknown length
// with &stream=1, one that never ends with &hang=1, and pages by their path.
func files(t *testing.T, pages map[string]string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		if page, ok := pages[r.URL.Path]; ok {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte(page))
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Disposition", "attachment; filename="+strconv.Quote(query.Get("name")))
		size, _ := strconv.Atoi(query.Get("size"))
		if query.Has("stream") {
			w.(http.Flusher).Flush()
		} else {
			w.Header().Set("Content-Length", strconv.Itoa(size))
		}
		block := make([]byte, 1<<16)
		for size > 0 {
			n, err := w.Write(block[:min(size, len(block))])
			if err != nil {
				return
			}
			size -= n
		}
		if query.Has("hang") {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// downloading opens a page in a slot that may download as "s1", and returns what
// is reported.
func downloading(t *testing.T, p *Pool, address string) (<-chan *browserv1.Download, func()) {
	t.Helper()
	reports := make(chan *browserv1.Download, 2000)
	r, err := p.use()
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.slots.Acquire(t.Context(), slot.Need{Engine: r.slots.Default})
	if err != nil {
		t.Fatal(err)
	}
	release := func() { r.slots.Release(s, slot.Strict) }
	if err := r.slots.Download(t.Context(), s, "s1", func(d *browserv1.Download) { reports <- d }); err != nil {
		t.Fatal(err)
	}
	if err := s.Tab.Open(t.Context(), address, &browserv1.Wait{Until: browserv1.Wait_COMMIT}, s.Outlet.Why); err != nil {
		t.Fatal(err)
	}
	return reports, release
}

func next(t *testing.T, reports <-chan *browserv1.Download) *browserv1.Download {
	t.Helper()
	select {
	case d := <-reports:
		return d
	case <-t.Context().Done():
		t.Fatal("no report of a download")
		return nil
	}
}

// link is a page that follows a link to a file.
func link(href string) string {
	return fmt.Sprintf(`<!DOCTYPE html><body><script>
		const a = document.createElement("a")
		a.href = %q
		document.body.append(a)
		a.click()
	</script>`, href)
}

func TestADownloadIsAFileOfTheSession(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, &browserv1.Config{Downloads: &browserv1.Downloads{Dir: dir}})
	base := files(t, map[string]string{
		"/": link("/file?name=a.bin&size=100000"), "/frame": `<iframe id="f"></iframe><script>f.src = "http://localhost:" + location.port + "/framed"</script>`,
		"/framed": link("/file?name=../../.f%20%22.bin&size=7"),
	})
	got := map[string]uint64{}
	var release func()
	for _, path := range []string{"/", "/", "/frame"} {
		if release != nil {
			release()
		}
		var reports <-chan *browserv1.Download
		reports, release = downloading(t, p, base+path)
		d := next(t, reports)
		if d.GetError() != "" {
			t.Errorf("%s: %s", d.GetName(), d.GetError())
		}
		info, err := os.Stat(d.GetPath())
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0o600 || info.Size() != int64(d.GetSize()) {
			t.Errorf("%s: %v, %d bytes, reported are %d", d.GetPath(), info.Mode(), info.Size(), d.GetSize())
		}
		got[strings.TrimPrefix(d.GetPath(), dir)] = d.GetSize()
	}
	if want := map[string]uint64{"/s1/a.bin": 100000, "/s1/a (1).bin": 100000, "/s1/_.._.f _.bin": 7}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	release()
	if err := p.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := tree(t, dir), []string{".partial", "s1", "s1/_.._.f _.bin", "s1/a (1).bin", "s1/a.bin"}; !slices.Equal(got, want) {
		t.Errorf("what stays: got %v, want %v", got, want)
	}
}

// tree is all that is in a directory.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if path != dir {
			all = append(all, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestWhatMayNotBeDownloadedIsRefusedAndSaid(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, &browserv1.Config{Downloads: &browserv1.Downloads{Dir: dir, MaxSize: 1 << 20, Names: []string{"*.pdf", "*.bin"}}})
	for href, want := range map[string]string{
		"/file?name=a.exe&size=10":                             "its name is none of those that may be downloaded (downloads.names)",
		"/file?name=declared.bin&size=1048577":                 "1048577 bytes, limit 1048576 (downloads.max_size)",
		"/file?name=streamed.bin&size=2000000&stream=1&hang=1": "bytes, limit 1048576 (downloads.max_size)",
		"/file?name=FITS.PDF&size=1048576":                     "",
	} {
		reports, release := downloading(t, p, files(t, map[string]string{"/": link(href)}))
		d := next(t, reports)
		if got := d.GetError(); !strings.HasSuffix(got, want) || want == "" && got != "" || (d.GetPath() == "") != (want != "") {
			t.Errorf("%s: got %q, %q; want %q", href, got, d.GetPath(), want)
		}
		release()
	}
	if err := p.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := tree(t, dir), []string{".partial", "s1", "s1/FITS.PDF"}; !slices.Equal(got, want) {
		t.Errorf("what stays: got %v, want %v", got, want)
	}
}

func TestAThousandDownloadsAreBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	base := strings.TrimPrefix(files(t, map[string]string{"/": `<!DOCTYPE html><body><script>
		for (let i = 0; i < 1000; i++) {
			const f = document.createElement("iframe")
			f.src = "http://" + "abc"[i % 3] + ".test/file?hang=1&stream=1&size=10&name=" + i
			document.body.append(f)
		}
	</script>`}), "http://")
	p := start(t, &browserv1.Config{
		Downloads: &browserv1.Downloads{Dir: dir},
		Resolve:   map[string]string{"a.test:80": base, "b.test:80": base, "c.test:80": base}, // a browser has 6 connections to a server
		Egress:    &egressv1.Egress{Rule: []*egressv1.Rule{{Action: egressv1.Rule_ALLOW, Hosts: []string{"*.test", "127.0.0.1"}, Addresses: []string{"any"}}}},
	})
	reports, release := downloading(t, p, "http://"+base+"/")
	for range 100 { // with 10 that do not end, those to two of the servers may all wait
		d := next(t, reports)
		if got, want := d.GetError(), "11 downloads at once, limit 10"; got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	release()
	if err := p.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := tree(t, dir), []string{".partial"}; !slices.Equal(got, want) {
		t.Errorf("what stays: got %v, want %v", got, want)
	}
}

func TestWithoutARuleNothingIsDownloaded(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	reports, release := downloading(t, p, files(t, map[string]string{"/": link("/file?name=a.bin&size=10")}))
	defer release()
	if got, want := next(t, reports).GetError(), "nothing may be downloaded: there is no downloads{} block"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAFileIsNoPage(t *testing.T) {
	t.Parallel()
	p := start(t, &browserv1.Config{Downloads: &browserv1.Downloads{Dir: t.TempDir()}})
	_, err := p.Text(t.Context(), &browserv1.TextRequest{Url: files(t, nil) + "/file?name=a.bin&size=10"})
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("got %v, want FailedPrecondition", err)
	}
}

func TestADirectoryThatCannotBeMadeIsAFaultOfItsField(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, config := range []*browserv1.Downloads{{Dir: filepath.Join(file, "below")}, {Dir: t.TempDir(), Names: []string{"[a"}}} {
		err := New().Configure(t.Context(), &browserv1.Config{Downloads: config})
		if err == nil || !strings.HasPrefix(err.Error(), "downloads.") {
			t.Errorf("got %v", err)
		}
	}
}

func TestEventsTellOfASessionsDownloads(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		downloads *browserv1.Downloads
		want      string
	}{
		"allowed": {&browserv1.Downloads{Dir: t.TempDir()}, ""},
		"refused": {nil, "nothing may be downloaded: there is no downloads{} block"},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, &browserv1.Config{Downloads: test.downloads})
			base := files(t, map[string]string{"/": `<!DOCTYPE html><a href="/file?name=a.pdf&size=10">here</a>`})
			session := open(t, p, &browserv1.OpenRequest{Url: base + "/"})
			events := follow(t, p, session)
			if _, err := p.Click(t.Context(), &browserv1.ClickRequest{Session: session, Target: target("a")}); err != nil {
				t.Fatal(err)
			}
			d := events.until(t, func(e *browserv1.EventsResponse) bool { return e.GetDownload() != nil }).GetDownload()
			if d.GetName() != "a.pdf" || d.GetError() != test.want || (d.GetPath() == "") != (test.want != "") {
				t.Errorf("got %v", d)
			}
		})
	}
}
