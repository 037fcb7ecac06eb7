package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
)

// The picture that each job takes.
const (
	shotWidth  = 800
	shotHeight = 600
)

// newSite serves, in this process, a page of an ordinary kind: a table of 40 rows,
// a stylesheet, a script that adds 20 nodes, and a picture. Its title tells whose
// job it is for. The caller closes it.
func newSite() *httptest.Server {
	var rows strings.Builder
	for i := range 40 {
		fmt.Fprintf(&rows, "<tr class=\"row\"><td>%d</td><td>a row of the table that is not much longer than others are</td><td>%d</td><td>some more of it</td></tr>\n", i, i*i)
	}
	var icon bytes.Buffer
	square := image.NewRGBA(image.Rect(0, 0, 64, 64))
	for i := range 64 * 64 {
		square.Set(i%64, i/64, color.RGBA{uint8(i), uint8(i >> 4), 128, 255})
	}
	_ = png.Encode(&icon, square) // to memory
	files := map[string]struct{ kind, content string }{
		"/style.css": {"text/css", "body { font: 14px sans-serif } td { padding: 4px; border: 1px solid #999 } .row:nth-child(odd) { background: #eef }"},
		"/script.js": {"text/javascript", "for (let i = 0; i < 20; i++) { const p = document.createElement('p'); p.textContent = 'node ' + i; document.body.append(p) }"},
		"/icon.png":  {"image/png", icon.String()},
	}
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f, ok := files[r.URL.Path]; ok {
			w.Header().Set("Content-Type", f.kind)
			_, _ = w.Write([]byte(f.content)) // who hangs up has no use for it
			return
		}
		job, err := strconv.ParseInt(r.URL.Query().Get("job"), 10, 64)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprintf(w, "<!DOCTYPE html>\n<html><head><title>Job %d</title><link rel=\"stylesheet\" href=\"/style.css\"></head>\n"+
			"<body><img src=\"/icon.png\" alt=\"\"><table>\n%s</table><script src=\"/script.js\"></script></body></html>\n", job, &rows)
	}))
}

// rightShot looks at what a job has brought.
func rightShot(job int64, title, picture []byte) error {
	if want := fmt.Sprintf("Job %d", job); string(title) != want {
		return fmt.Errorf("got the page %.40q, want %q", title, want)
	}
	const size = 24 // magic, and the length, name, width and height of the first chunk
	if len(picture) < size || !bytes.HasPrefix(picture, []byte("\x89PNG\r\n\x1a\n")) {
		return fmt.Errorf("got %d bytes that are no PNG", len(picture))
	}
	width, height := binary.BigEndian.Uint32(picture[16:]), binary.BigEndian.Uint32(picture[20:])
	if width != shotWidth || height != shotHeight {
		return fmt.Errorf("got a picture of %d x %d, want %d x %d", width, height, shotWidth, shotHeight)
	}
	return nil
}
