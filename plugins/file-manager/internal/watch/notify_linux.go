package watch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// eventsCome says that the system tells of changes.
const eventsCome = true

// told are the events that a directory tells of its entries (inotify(7)).
// IN_CLOSE_WRITE stands for writes through a mapping, of which no other comes.
const told = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB |
	unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_EXCL_UNLINK | unix.IN_ONLYDIR

// notifier is an inotify instance. A user may have 128 of them, so that all
// watches share one; to the system two watches of a directory are the same.
type notifier struct {
	file *os.File
	fd   int // of file, which stays in the care of the poller
	done chan struct{}

	mu      sync.Mutex
	targets map[int32][]target // by the number that the system has given
}

// target is who wants to be told of a directory.
type target struct {
	watcher *watcher
	node    *node
}

// newNotifier opens an instance and starts to read from it. The caller closes it.
func newNotifier() (*notifier, error) {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, status.Errorf(codes.ResourceExhausted, "watch: inotify: %v; fs.inotify.max_user_instances is %s", err, limit("max_user_instances"))
	}
	n := &notifier{file: os.NewFile(uintptr(fd), "inotify"), fd: fd, done: make(chan struct{}), targets: make(map[int32][]target)}
	go n.run()
	return n, nil
}

// close ends reading.
func (n *notifier) close() error {
	err := n.file.Close()
	<-n.done
	return err
}

// add tells a watcher of changes in a directory, which node stands for. The lock is
// held until its number is known, as an event may be there at once.
func (n *notifier) add(dir jail.Dir, w *watcher, to *node) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	// The path leads to the very directory that was opened, and not to what has its
	// name now.
	id, err := unix.InotifyAddWatch(n.fd, fmt.Sprintf("/proc/self/fd/%d", dir.Descriptor()), told)
	if errors.Is(err, unix.ENOSPC) {
		return status.Errorf(codes.ResourceExhausted, "watch %q: the system watches as many directories as it may: fs.inotify.max_user_watches is %s", to.path(), limit("max_user_watches"))
	}
	if err != nil {
		return fmt.Errorf("watch %q: inotify: %w", to.path(), err)
	}
	if int32(id) == to.watch { //nolint:gosec // G115: the system counts in int32
		return nil
	}
	n.release(w, to)
	to.watch = int32(id) //nolint:gosec // G115: the system counts in int32
	n.targets[to.watch] = append(n.targets[to.watch], target{w, to})
	return nil
}

// remove undoes add.
func (n *notifier) remove(w *watcher, to *node) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.release(w, to)
}

func (n *notifier) release(w *watcher, to *node) {
	targets, there := n.targets[to.watch]
	if !there {
		return // the system has released it by itself
	}
	targets = slices.DeleteFunc(targets, func(t target) bool { return t == target{w, to} })
	n.targets[to.watch] = targets
	if len(targets) == 0 {
		delete(n.targets, to.watch)
		_, _ = unix.InotifyRmWatch(n.fd, uint32(to.watch)) //nolint:gosec // G115: positive; it fails if the directory is gone
	}
}

// run reads events until close.
func (n *notifier) run() {
	defer close(n.done)
	buffer := make([]byte, 64<<10)
	for {
		size, err := n.file.Read(buffer)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			n.fail(status.Errorf(codes.Internal, "watch: inotify: %v", err))
			return
		}
		n.deliver(buffer[:size])
	}
}

// deliver tells what a piece of the stream of events says.
func (n *notifier) deliver(events []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(events) >= unix.SizeofInotifyEvent {
		id := int32(binary.NativeEndian.Uint32(events)) //nolint:gosec // G115: an int32 in struct inotify_event
		mask := binary.NativeEndian.Uint32(events[4:])
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(events[12:]))
		name := strings.TrimRight(string(events[unix.SizeofInotifyEvent:end]), "\x00")
		events = events[end:]
		if mask&unix.IN_Q_OVERFLOW != 0 {
			n.overflow()
			continue
		}
		for _, t := range n.targets[id] {
			t.tell(mask, name)
		}
		if mask&unix.IN_IGNORED != 0 {
			delete(n.targets, id)
		}
	}
}

// tell passes an event on.
func (t target) tell(mask uint32, name string) {
	var h hint
	if mask&(unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_IGNORED) != 0 {
		h |= appeared
	}
	if mask&unix.IN_MODIFY != 0 {
		h |= modified
	}
	switch {
	case name != "":
		t.watcher.pending.mark(t.node, name, h)
	case mask&unix.IN_IGNORED == 0:
		// Of the directory itself, which the one that it is in tells, too.
	case t.node.parent == nil:
		t.watcher.pending.fail(errVanished())
	default:
		t.watcher.pending.mark(t.node.parent, t.node.name, h)
	}
}

// overflow tells everyone that events were dropped.
func (n *notifier) overflow() {
	for _, targets := range n.targets {
		for _, t := range targets {
			t.watcher.pending.markAll()
		}
	}
}

// fail ends all watches.
func (n *notifier) fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, targets := range n.targets {
		for _, t := range targets {
			t.watcher.pending.fail(err)
		}
	}
}

// limit is what the system says of a bound.
func limit(name string) string {
	text, err := os.ReadFile("/proc/sys/fs/inotify/" + name) //nolint:gosec // G304: one of two names
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(text))
}
