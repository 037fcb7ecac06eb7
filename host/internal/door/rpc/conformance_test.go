package rpc

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/gaia-go/gaia/host/internal/door/rpc/testdata/suites/conformancev1"
)

// serveConformance is a server under test, as the runner of Connect's suite
// starts and ends it. The runner cannot send a token, and needs none.
func serveConformance(in io.Reader, out io.Writer) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := readSized(in, new(conformancev1.ServerCompatRequest)); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "rpc")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	h, err := openHouse(ctx, dir, "", os.Stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	address := h.http
	if os.Getenv("SUITES_DOOR") == "grpc" {
		relay, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // does not wait for anything
		if err != nil {
			return err
		}
		defer relay.Close()
		go relayTo(h.socket, relay)
		address = relay.Addr().String()
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return err
	}
	if err := writeSized(out, &conformancev1.ServerCompatResponse{Host: host, Port: uint32(number)}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// relayTo connects who comes to the listener with a socket, byte for byte: the
// suite knows TCP only.
func relayTo(socket string, listener net.Listener) {
	for {
		from, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer from.Close()
			to, err := net.Dial("unix", socket) //nolint:noctx // does not wait for anything
			if err != nil {
				return
			}
			defer to.Close()
			go func() {
				defer to.Close()
				_, _ = io.Copy(to, from)
			}()
			_, _ = io.Copy(from, to)
		}()
	}
}

// readSized reads a message behind its length in four bytes.
func readSized(in io.Reader, m proto.Message) error {
	var size [4]byte
	if _, err := io.ReadFull(in, size[:]); err != nil {
		return err
	}
	data := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(in, data); err != nil {
		return err
	}
	return proto.Unmarshal(data, m)
}

func writeSized(out io.Writer, m proto.Message) error {
	data, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	_, err = out.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...))
	return err
}

// TestConnectsConformanceSuitePasses runs all cases of Connect's public suite
// that fit the features of each door, in testdata/conformance/DOOR.yaml. Those
// that are known to fail, or to fail at times, are in files beside it, each with
// its reason; the runner fails, too, when one passes that is known to fail.
func TestConnectsConformanceSuitePasses(t *testing.T) {
	plugins, err := pluginDir()
	if err != nil {
		t.Fatal(err)
	}
	runner := buildRunner(t)
	for _, door := range []string{"http", "grpc"} {
		t.Run(door, func(t *testing.T) {
			files := "testdata/conformance/" + door
			run := exec.CommandContext(t.Context(), runner, "--mode", "server", "--conf", files+".yaml",
				"--known-failing", "@"+files+"-known-failing.txt", "--known-flaky", "@"+files+"-known-flaky.txt",
				"-v", "--", os.Args[0])
			run.Env = append(os.Environ(), "SUITES_PROGRAM=server", "SUITES_DOOR="+door, "SUITES_PLUGIN_DIR="+plugins)
			output, err := run.CombinedOutput()
			lines := strings.Split(strings.TrimSpace(string(output)), "\n")
			t.Log(strings.Join(lines[max(0, len(lines)-4):], "\n"))
			if err != nil {
				t.Errorf("%v\n%s", err, output)
			}
		})
	}
}

// buildRunner builds the suite's runner, which is a module of its own so that
// nothing of it is in the host's.
func buildRunner(t *testing.T) string {
	t.Helper()
	runner := filepath.Join(t.TempDir(), "connectconformance")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", runner, "connectrpc.com/conformance/cmd/connectconformance")
	build.Dir = "testdata/conformance"
	build.Env = append(os.Environ(), "GOWORK=off")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the runner: %v\n%s", err, output)
	}
	return runner
}
