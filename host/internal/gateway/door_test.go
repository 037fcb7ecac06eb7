package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// faulty is a listener that fails with the given errors first.
type faulty struct {
	net.Listener

	errs chan error
}

func (f *faulty) Accept() (net.Conn, error) {
	select {
	case err := <-f.errs:
		return nil, &net.OpError{Op: "accept", Net: "unix", Err: os.NewSyscallError("accept4", err)}
	default:
		return f.Listener.Accept()
	}
}

// openDoor opens a door until the end of the test. Connections for the link
// are closed.
func openDoor(t *testing.T, patience time.Duration, errs ...error) (d *socketDoor, address string, log *syncBuffer) {
	t.Helper()
	lis, address := listen(t)
	f := &faulty{Listener: lis, errs: make(chan error, len(errs))}
	for _, err := range errs {
		f.errs <- err
	}
	log = new(syncBuffer)
	logger := hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Debug})
	d = newSocketDoor(f, func(conn net.Conn) { _ = conn.Close() }, logger)
	d.patience = patience
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	d.open(ctx)
	t.Cleanup(func() {
		cancel()
		_ = d.Close()
		d.visitors.Wait()
	})
	return d, strings.TrimPrefix(address, "unix:"), log
}

// visit connects and says something.
func visit(t *testing.T, address, text string) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "unix", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestADoorOutlivesWhatPassesAndSaysSoOnceASecond(t *testing.T) {
	d, address, log := openDoor(t, time.Minute, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED)
	visit(t, address, "PRI")
	conn, err := d.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got := make([]byte, 3)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "PRI" {
		t.Errorf("read %q, %v; want all that was said", got, err)
	}
	if n := strings.Count(log.String(), "connections have to wait"); n != 1 {
		t.Errorf("logged %d times, want once:\n%s", n, log)
	}
}

func TestADoorWhoseListenerIsBrokenSaysSo(t *testing.T) {
	d, address, _ := openDoor(t, time.Minute, syscall.EINVAL)
	_, err := d.Accept()
	if !errors.Is(err, syscall.EINVAL) {
		t.Errorf("got %v, want what accept said", err)
	}
	if temporary, ok := err.(interface{ Temporary() bool }); ok {
		t.Errorf("Temporary: %t, and so the gRPC server would try again", temporary.Temporary())
	}
	if _, err := new(net.Dialer).DialContext(t.Context(), "unix", address); err == nil {
		t.Error("the listener is left open")
	}
}

func TestAServerWhoseListenerBreaksEnds(t *testing.T) {
	h := echoHost(t, echo{}) // for its registry
	lis, _ := listen(t)
	f := &faulty{Listener: lis, errs: make(chan error, 1)}
	f.errs <- syscall.EINVAL
	err := New(Options{Registry: h.registry, Logger: hclog.NewNullLogger()}).Serve(t.Context(), f)
	if !errors.Is(err, syscall.EINVAL) {
		t.Errorf("got %v, want what accept said", err)
	}
}

func TestWhoSaysNothingIsSentAway(t *testing.T) {
	_, address, log := openDoor(t, 20*time.Millisecond)
	conn := visit(t, address, "")
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("got %d bytes, %v; want the end", n, err)
	}
	eventually(t, "it is logged", func() bool {
		return strings.Contains(log.String(), "[DEBUG] connection closed: it said nothing: after=20ms")
	})
}

func TestWhoSaysNothingDoesNotHoldUpTheEnd(t *testing.T) {
	lis, address := listen(t)
	d := newSocketDoor(lis, func(conn net.Conn) { _ = conn.Close() }, hclog.NewNullLogger())
	ctx, cancel := context.WithCancel(t.Context())
	d.open(ctx)
	for range 20 {
		visit(t, strings.TrimPrefix(address, "unix:"), "")
	}
	cancel()
	_ = d.Close()
	d.visitors.Wait() // which firstByteTimeout would hold up longer than a test has patience
}
