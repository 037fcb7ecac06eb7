package tree

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Peak tells the most memory that a group has used since the peak was made: memory
// of its processes, and what the kernel has cached of files for them. The caller
// closes it. A nil one knows nothing.
type Peak struct{ file *os.File }

// Peak begins to measure, or returns nil where nothing does: on version 2 before
// Linux 6.12.
func (g *Group) Peak() *Peak {
	dirs, _ := g.snapshot()
	d, ok := with(dirs, "memory")
	if !ok {
		return nil
	}
	file, err := os.OpenFile(filepath.Join(d.path, d.file("memory.peak", "memory.max_usage_in_bytes")), os.O_RDWR, 0)
	if err != nil {
		return nil
	}
	if _, err := file.WriteString("0"); err != nil { // what it was before
		file.Close()
		return nil
	}
	return &Peak{file}
}

// Close ends the measurement and returns the bytes; 0 if they are not known.
func (p *Peak) Close() uint64 {
	if p == nil {
		return 0
	}
	defer p.file.Close()
	text := make([]byte, 32)
	n, _ := p.file.ReadAt(text, 0) // io.EOF: all of it
	bytes, err := strconv.ParseUint(strings.TrimSpace(string(text[:n])), 10, 64)
	if err != nil {
		return 0
	}
	return bytes
}
