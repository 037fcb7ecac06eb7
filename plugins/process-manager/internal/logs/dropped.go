package logs

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// The file of this name says how many bytes of a log were dropped. It is always
// written over, so that a full disk takes it.
const droppedName = "dropped"

// readDropped returns 0 if nothing was dropped.
func readDropped(dir string) int64 {
	content, _ := os.ReadFile(filepath.Join(dir, droppedName))           //nolint:gosec // below the store's directory
	n, _ := strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64) // what is not a number was not written by us
	return n
}

// drop counts bytes that are dropped.
func (l *Log) drop(n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropped += n
}

// saveDropped writes the count down, for later runs.
func (l *Log) saveDropped() {
	_, _, dropped := l.Bounds()
	file, err := openFile(l.dir, droppedName, os.O_WRONLY|os.O_CREATE)
	if err != nil {
		return // the next time, perhaps; the log has the lines that say it
	}
	defer file.Close()
	_, _ = fmt.Fprintf(file, "%20d\n", dropped)
}
