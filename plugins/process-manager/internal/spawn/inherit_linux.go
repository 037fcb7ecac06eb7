package spawn

import (
	"fmt"
	"math"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Seal keeps what this program has inherited from whoever started it from all
// processes that it starts: descriptors, and signals that are ignored, as a shell
// does with SIGINT and SIGQUIT for what runs in its background. It is called once,
// before the first start.
func Seal() error {
	for s := unix.Signal(1); s < unix.SIGSYS; s++ {
		if signal.Ignored(s) {
			// One that is caught is not ignored after exec; nobody listens here.
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("spawn: %w", os.NewSyscallError("close_range", err)) // before Linux 5.11
	}
	return nil
}

// exposeToOOM lets the kernel kill a process for want of memory although this
// program, as some services are, is protected from that.
func (p *Process) exposeToOOM() {
	const file = "/proc/%s/oom_score_adj"
	text, err := os.ReadFile(fmt.Sprintf(file, "self"))
	if err == nil && strings.HasPrefix(string(text), "-") {
		_ = os.WriteFile(fmt.Sprintf(file, strconv.Itoa(p.Pid)), []byte("0"), 0) // it may have ended
	}
}
