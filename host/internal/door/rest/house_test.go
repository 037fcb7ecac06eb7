package rest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/gaia-go/gaia/host/internal/app"
)

// wait bounds every wait of these tests; none of them measures time.
const wait = 30 * time.Second

// plugins are what the host of the tests runs, by the folder of each.
var plugins = map[string]string{
	"hello": "../../../../examples/hello",
	"files": "../../../../plugins/file-manager",
}

// door is the host that all tests call, with real plugins.
var door struct {
	url, token string
	root       string // the directory of the files
}

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// run runs the tests with a host.
func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "rest")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	for name, source := range plugins {
		if output, err := exec.CommandContext(context.Background(), "go", "build", "-o", filepath.Join(dir, "plugins", name), source).CombinedOutput(); err != nil {
			return 0, fmt.Errorf("build %s: %w\n%s", source, err, output)
		}
	}
	door.root = filepath.Join(dir, "files")
	config := fmt.Sprintf(`
host {
  socket     = %[1]q
  http       = "127.0.0.1:0"
  plugin_dir = %[2]q
  data_dir   = %[3]q
}
subsystem "hello" { plugin = "hello" }
subsystem "seldom" {
  plugin = "hello"
  rate "global" {
    limit = "1/h"
    burst = 1
  }
}
subsystem "files" {
  plugin = "files"
  config {
    root "all" {
      path   = %[4]q
      mode   = "rw"
      create = true
      durability = "none"
    }
  }
}
`, filepath.Join(dir, "run/s"), filepath.Join(dir, "plugins"), filepath.Join(dir, "data"), door.root)
	path := filepath.Join(dir, "config.hcl")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return 0, err
	}
	return withHost(path, m.Run)
}

// withHost runs f beside a host.
func withHost(config string, f func() int) (code int, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	reader, stdout := io.Pipe()
	var log bytes.Buffer
	ended := make(chan error, 1)
	go func() {
		err := app.Run(ctx, app.Options{ConfigPath: config, Stdout: stdout, Stderr: &log, JSON: true, Version: "v0.0.0-test"})
		_ = stdout.CloseWithError(io.ErrUnexpectedEOF)
		ended <- err
	}()
	var table struct {
		HTTP  string `json:"http"`
		Token string `json:"token_file"`
	}
	if err = json.NewDecoder(reader).Decode(&table); err == nil {
		var token []byte
		if token, err = os.ReadFile(table.Token); err == nil {
			door.url, door.token = "http://"+table.HTTP, strings.TrimSpace(string(token))
			code = f()
		}
	}
	cancel()
	if runErr := <-ended; err == nil {
		err = runErr
	}
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, &log)
	}
	return code, err
}

// newRequest makes a request of who has the token, with headers as "Key: value".
func newRequest(t testing.TB, method, path string, body io.Reader, headers ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, door.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+door.token)
	for _, h := range headers {
		key, value, _ := strings.Cut(h, ": ")
		r.Header.Set(key, value)
	}
	return r
}

// answered is a response, read to its end.
type answered struct {
	*http.Response

	body string
}

// ask makes a request.
func ask(t testing.TB, method, path string, body io.Reader, headers ...string) answered {
	t.Helper()
	w, err := http.DefaultClient.Do(newRequest(t, method, path, body, headers...))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	content, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answered{w, string(content)}
}

// post sends JSON.
func post(t testing.TB, path, body string, headers ...string) answered {
	t.Helper()
	return ask(t, http.MethodPost, path, strings.NewReader(body), append([]string{"Content-Type: application/json"}, headers...)...)
}

// fault is google.rpc.Status.
type fault struct {
	Code    int
	Message string
	Details []map[string]any
}

// fault reads an error.
func (a answered) fault(t testing.TB) fault {
	t.Helper()
	var f fault
	if err := json.Unmarshal([]byte(a.body), &f); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
	return f
}

// newBody is a body that was read before.
func newBody(content string) io.ReadCloser { return io.NopCloser(strings.NewReader(content)) }

func sorted(names []string) []string { return slices.Sorted(slices.Values(names)) }

func newMessage(md protoreflect.MessageDescriptor) *dynamicpb.Message {
	return dynamicpb.NewMessage(md)
}
