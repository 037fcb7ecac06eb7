package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// row is one method with a request that is answered and one that is refused.
type row struct {
	// method is SUBSYSTEM.METHOD, as `gaia call` has it.
	method string
	// good is the request in JSON; for a stream its messages, one after the
	// other. $way is the name of the program that calls, $url the server's, and
	// others are what rows before have kept.
	good string
	// want is JSON that one of the answers holds; see holds.
	want string
	// keep is "NAME PATH": a value of that answer for the rows to come. Optional.
	keep string
	// endless says that the call goes on when that answer has come: it is left.
	endless bool
	// bad is a request that is refused with code. Optional in a row that only
	// prepares what others need.
	bad  string
	code codes.Code
}

// subsystems are those of the house, with their services.
func subsystems() map[string]protoreflect.FullName {
	return map[string]protoreflect.FullName{
		"api_client_pool":     "gaia.api.v1.APIClientPool",
		"browser_pool":        "gaia.browser.v1.BrowserPool",
		"file_manager":        "gaia.file.v1.FileManager",
		"network_coordinator": "gaia.network.v1.NetworkCoordinator",
		"process_manager":     "gaia.process.v1.ProcessManager",
	}
}

// serviceOf is the descriptor of a subsystem's service.
func serviceOf(t *testing.T, subsystem string) protoreflect.ServiceDescriptor {
	t.Helper()
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(subsystems()[subsystem])
	if err != nil {
		t.Fatalf("subsystem %q: %v", subsystem, err)
	}
	return d.(protoreflect.ServiceDescriptor)
}

func TestEveryMethodIsCalledByCurlGrpcurlAndGaiaCall(t *testing.T) {
	house := openEvery(t)
	for name, by := range map[string]func(*testing.T, *everyHouse) driver{"curl": byCurl, "grpcurl": byGrpcurl, "gaia": byGaiaCall} {
		t.Run(name, func(t *testing.T) {
			driver := by(t, house)
			values := map[string]string{"way": name, "url": house.url, "port": house.port}
			house.tunnel(t, name)
			for _, r := range rows() {
				if subsystem, _, _ := strings.Cut(r.method, "."); subsystem != "browser_pool" || house.hasBrowser {
					r.try(t, driver, values)
				}
			}
		})
	}
}

func TestTheTableHasEveryMethod(t *testing.T) {
	for subsystem := range subsystems() {
		methods := serviceOf(t, subsystem).Methods()
		for i := range methods.Len() {
			name := subsystem + "." + string(methods.Get(i).Name())
			good, bad := 0, 0
			for _, r := range rows() {
				if r.method == name && r.want != "" {
					good++
				}
				if r.method == name && r.bad != "" && r.code != codes.OK {
					bad++
				}
			}
			if good == 0 || bad == 0 {
				t.Errorf("%s has %d good and %d bad requests, want one at least of each", name, good, bad)
			}
		}
	}
}

// try makes both calls of a row.
func (r row) try(t *testing.T, by driver, values map[string]string) {
	t.Helper()
	var found any
	enough := func(answer any) bool {
		if found == nil && holds(answer, parse(t, fill(r.want, values))) {
			found = answer
		}
		return found != nil && r.endless
	}
	o := by.call(t, r.method, fill(r.good, values), enough)
	if found == nil || o.code != codes.OK {
		t.Errorf("%s %s\ngot  %s\n     %v %s\nwant %s", r.method, fill(r.good, values), o.output, o.code, o.errors, fill(r.want, values))
	} else if name, path, ok := strings.Cut(r.keep, " "); ok {
		values[name] = fmt.Sprint(at(found, path))
	}
	if r.bad == "" {
		return
	}
	if o := by.call(t, r.method, fill(r.bad, values), nil); o.code != r.code || strings.Contains(o.output+o.errors, "rpc error") {
		t.Errorf("%s %s\ngot  %v %s %s\nwant %v", r.method, fill(r.bad, values), o.code, o.output, o.errors, r.code)
	}
}

// fill puts values in the place of their names.
func fill(text string, values map[string]string) string {
	return os.Expand(text, func(name string) string {
		if value, ok := values[name]; ok {
			return value
		}
		return "$" + name
	})
}

func parse(t *testing.T, text string) (value any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return value
}

// holds reports whether all that is wanted is in what there is: of objects the
// fields, of lists the elements in any order, and of a text that ends in "…" the
// beginning.
func holds(got, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		for key, value := range want {
			ok = ok && holds(object[key], value)
		}
		return ok
	case []any:
		list, ok := got.([]any)
		for _, value := range want {
			has := false
			for _, element := range list {
				has = has || holds(element, value)
			}
			ok = ok && has
		}
		return ok
	case string:
		text, ok := got.(string)
		prefix, isPrefix := strings.CutSuffix(want, "…")
		return ok && (text == want || isPrefix && len(text) > 0 && strings.HasPrefix(text, prefix))
	default:
		return got == want
	}
}

// at is the value at a path of names.
func at(value any, path string) any {
	for name := range strings.SplitSeq(path, ".") {
		if list, ok := value.([]any); ok && len(list) > 0 {
			value = list[0]
		}
		object, _ := value.(map[string]any)
		value = object[name]
	}
	return value
}

// everyHouse is a house with all five subsystems, and what they work on.
type everyHouse struct {
	*house

	url        string // of a web server
	port       string // of a server that sends back what it gets
	hasBrowser bool
}

// openEvery runs a host with all five subsystems.
func openEvery(t *testing.T) *everyHouse {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(serveEvery))
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(echoServer(t))
	if err != nil {
		t.Fatal(err)
	}
	_, noBrowser := os.Stat(headlessShell)
	dir := newHouse(t)
	config := fmt.Sprintf(everyConfig, loopbackRule, nameServer(t), filepath.Join(dir, "workspace"), filepath.Join(dir, "logs"))
	h := &everyHouse{house: open(t, dir, config), url: server.URL, port: port, hasBrowser: noBrowser == nil}
	for subsystem := range subsystems() {
		if subsystem != "browser_pool" || h.hasBrowser {
			h.await(t, subsystem, isReady)
		}
	}
	if !h.hasBrowser {
		t.Logf("methods of the browser pool are not called: %v", noBrowser)
	}
	return h
}

const everyConfig = `
host { http = "127.0.0.1:0" }
subsystem "api_client_pool" {
  plugin = "gaia-api-client-pool"
  config {
    %[1]s
  }
}
subsystem "browser_pool" {
  plugin = "gaia-browser-pool"
  config {
    %[1]s
  }
}
subsystem "file_manager" {
  plugin = "gaia-file-manager"
  config {
    root "workspace" {
      path   = %[3]q
      mode   = "rw"
      create = true
      trash  = "1h"
    }
  }
}
subsystem "network_coordinator" {
  plugin = "gaia-network-coordinator"
  config {
    %[1]s
    %[2]s
  }
}
subsystem "process_manager" {
  plugin = "gaia-process-manager"
  config {
    log_dir = %[4]q
    command "sh" {
      path = "/bin/sh"
      args = ["(?s).*"]
    }
  }
}
`

// serveEvery sends back what is posted, and else a page that can be worked on.
func serveEvery(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		_, _ = io.Copy(w, r.Body)
		return
	}
	w.Header().Set("Content-Type", "text/html")
	_, _ = io.WriteString(w, `<!DOCTYPE html><title>Every</title><h1>Every method</h1>
<input id="name"><input id="file" type="file"><button onclick="document.title = 'Clicked'">Go</button>
<select id="size"><option>small<option>large</select>
<script>localStorage.login = "yes"; setInterval(() => console.log("tick"), 50)</script>`)
}

// tunnel holds a connection open, for a client of that name.
func (h *everyHouse) tunnel(t *testing.T, client string) {
	t.Helper()
	stream, err := h.network().Tunnel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	port := parse(t, h.port).(float64)
	if err := stream.Send(&networkv1.TunnelRequest{Host: "127.0.0.1", Port: uint32(port), Client: client}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
}
