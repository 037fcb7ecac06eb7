package rest_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"

	"github.com/gaia-go/gaia/host/internal/door/bodies"
	"github.com/gaia-go/gaia/host/internal/door/rest"
	"github.com/gaia-go/gaia/host/internal/gateway"
	"github.com/gaia-go/gaia/host/internal/registry"
)

// describe reads what a plugin says of itself from a file that it embeds.
func describe(t testing.TB, path string, edit ...func(*descriptorpb.FileDescriptorSet)) *registry.Description {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(raw, &set); err != nil {
		t.Fatal(err)
	}
	for _, edit := range edit {
		edit(&set)
	}
	r := &pluginv1.DescribeResponse{Name: filepath.Base(filepath.Dir(path)), Version: "v1", Files: &set}
	for _, file := range set.GetFile() {
		for _, service := range file.GetService() {
			r.Services = append(r.Services, file.GetPackage()+"."+service.GetName())
		}
	}
	d, err := registry.NewDescription(r)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// doorOf is a door to what is described, and to nothing that could be called.
func doorOf(reg *registry.Registry[*gateway.Subsystem]) http.Handler {
	return rest.New(rest.Config{Registry: reg, Bodies: bodies.New(bodies.Size), Version: "v1.2.3", Subsystems: func() []rest.State {
		var states []rest.State
		for _, name := range reg.Subsystems() {
			states = append(states, rest.State{Name: name, Plugin: "gaia-" + name, State: "ready"})
		}
		return states
	}})
}

func get(t testing.TB, h http.Handler, path string) []byte {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%s: got %d %s", path, w.Code, w.Body)
	}
	return w.Body.Bytes()
}

// shipped has the five subsystems.
func shipped(t testing.TB) *registry.Registry[*gateway.Subsystem] {
	t.Helper()
	files, err := filepath.Glob("../../../../plugins/*/descriptors.binpb")
	if err != nil || len(files) != 5 {
		t.Fatalf("%q, %v", files, err)
	}
	reg := new(registry.Registry[*gateway.Subsystem])
	for _, file := range files {
		reg.Set(strings.ReplaceAll(filepath.Base(filepath.Dir(file)), "-", "_"), describe(t, file), nil)
	}
	return reg
}

func validate(t testing.TB, document []byte) validator.Validator {
	t.Helper()
	parsed, err := libopenapi.NewDocument(document)
	if err != nil {
		t.Fatal(err)
	}
	v, errs := validator.NewValidator(parsed)
	for _, err := range errs {
		t.Error(err)
	}
	if ok, problems := v.ValidateDocument(); !ok {
		for _, p := range problems {
			t.Errorf("%s: %s", p.Message, p.Reason)
			for _, s := range p.SchemaValidationErrors {
				t.Errorf("  %v", s)
			}
		}
	}
	return v
}

func TestTheOpenAPIDocumentOfAllPluginsIsValid(t *testing.T) {
	reg := shipped(t)
	reg.Set("rich", describe(t, "../../cli/testdata/rich.binpb"), nil)
	document := get(t, doorOf(reg), "/v1/openapi.json")
	validate(t, document)
	if again := get(t, doorOf(reg), "/v1/openapi.json"); !bytes.Equal(document, again) {
		t.Error("the same house has two documents")
	}
	t.Logf("%d KiB", len(document)>>10)
	var d struct {
		Paths map[string]any
	}
	if err := json.Unmarshal(document, &d); err != nil {
		t.Fatal(err)
	}
	for _, name := range reg.Subsystems() {
		description, _ := reg.Description(name)
		for _, m := range description.Methods() {
			if path := "/v1/" + name + "/" + description.CallName(m); d.Paths[path] == nil {
				t.Errorf("%s is not in the document", path)
			}
		}
	}
}

func TestAnOpenAPIDocumentFollowsTheHouse(t *testing.T) {
	reg := shipped(t)
	h := doorOf(reg)
	before := get(t, h, "/v1/openapi.json")
	reg.Remove("browser_pool")
	if after := get(t, h, "/v1/openapi.json"); bytes.Equal(before, after) || bytes.Contains(after, []byte("/v1/browser_pool/")) {
		t.Error("a subsystem that was removed is still there")
	}
}

func TestMessagesOfOneNameHaveOneSchemaIfTheyAreAlike(t *testing.T) {
	rich := "../../cli/testdata/rich.binpb"
	reg := new(registry.Registry[*gateway.Subsystem])
	reg.Set("a", describe(t, rich), nil)
	reg.Set("b", describe(t, rich), nil)
	reg.Set("c", describe(t, rich, func(set *descriptorpb.FileDescriptorSet) {
		for _, m := range set.GetFile()[0].GetMessageType() {
			if m.GetName() == "Point" {
				m.Field[0].Name, m.Field[0].JsonName = new("z"), new("z")
			}
		}
	}), nil)
	document := get(t, doorOf(reg), "/v1/openapi.json")
	validate(t, document)
	var d struct {
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal(document, &d); err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range d.Components.Schemas {
		names = append(names, name)
	}
	want := []string{"rich.v1.Everything", "rich.v1.Everything.c", "rich.v1.Level", "rich.v1.Login", "rich.v1.Point", "rich.v1.Point.c"}
	if diff := cmp.Diff(want, sorted(names)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestCallsAreAsTheDocumentSays holds requests and answers of the real host
// against what it says of them.
func TestCallsAreAsTheDocumentSays(t *testing.T) {
	write(t, "said.txt", "x")
	v := validate(t, []byte(ask(t, "GET", "/v1/openapi.json", nil).body))
	for _, c := range []struct {
		path, body string
		valid      bool // by the document
		status     int
	}{
		{"/v1/hello/Hello", `{"name":"Ann"}`, true, 200},
		{"/v1/hello/Hello", `{"nam":"Ann"}`, false, 400},
		{"/v1/hello/Hello", `{"name":1}`, false, 400},
		{"/v1/hello/Nothing", `{}`, false, 404},
		{"/v1/files/Stat", `{"root":"all","path":"said.txt"}`, true, 200},
		{"/v1/files/Stat", `{"root":"all","path":"not.txt"}`, true, 404},
		{"/v1/files/List", `{"root":"all","depth":2}`, true, 200},
		{"/v1/files/Hash", `{"root":"all","path":"said.txt","algorithm":"SHA256"}`, true, 200},
		{"/v1/files/WriteFile", `{"root":"all","path":"said.txt","content":"eA==","options":{"mode":420,"durability":"NONE"}}`, true, 200},
		{"/v1/files/WriteFile", `{"root":"all","path":"said.txt","options":{"durability":"SOMETIMES"}}`, false, 400},
		{"/v1/files/Roots", `{}`, true, 200},
	} {
		w := post(t, c.path, c.body)
		if w.StatusCode != c.status {
			t.Errorf("%s %s: got %d %s", c.path, c.body, w.StatusCode, w.body)
		}
		r := newRequest(t, "POST", c.path, strings.NewReader(c.body), "Content-Type: application/json")
		ok, problems := v.ValidateHttpRequest(r)
		if ok != c.valid {
			t.Errorf("%s %s: valid by the document: %t", c.path, c.body, ok)
			for _, p := range problems {
				t.Logf("%s: %s", p.Message, p.Reason)
			}
		}
		if c.status == 404 && !c.valid {
			continue // there is no such path
		}
		answer := *w.Response
		answer.Body = newBody(w.body)
		if ok, problems := v.ValidateHttpResponse(newRequest(t, "POST", c.path, nil), &answer); !ok {
			for _, p := range problems {
				t.Errorf("%s answers %s: %s: %s %v", c.path, w.body, p.Message, p.Reason, p.SchemaValidationErrors)
			}
		}
	}
}

func TestTheListsTellWhatThereIs(t *testing.T) {
	h := doorOf(shipped(t))
	var all struct {
		Version, OpenAPI string
		Subsystems       []struct {
			Name, Plugin, State, Path string
			Services                  []string
			Methods                   []struct{ Name, Service, Kind, Path, Summary string }
		}
	}
	if err := json.Unmarshal(get(t, h, "/v1"), &all); err != nil {
		t.Fatal(err)
	}
	if all.Version != "v1.2.3" || len(all.Subsystems) != 5 {
		t.Fatalf("got %+v", all)
	}
	kind := regexp.MustCompile(`^(unary|(client|server|bidi) stream)$`)
	for _, s := range all.Subsystems {
		if s.Plugin != "gaia-"+s.Name || s.State != "ready" || s.Path != "/v1/"+s.Name || len(s.Services) != 1 {
			t.Errorf("got %+v", s)
		}
		for _, m := range s.Methods {
			if m.Path != s.Path+"/"+m.Name || m.Service != s.Services[0] || !kind.MatchString(m.Kind) || m.Summary == "" {
				t.Errorf("%s: got %+v", s.Name, m)
			}
			var one struct {
				Path, Comment     string
				Request, Response struct {
					Message string
					Fields  []any
				}
			}
			if err := json.Unmarshal(get(t, h, m.Path), &one); err != nil || one.Path != m.Path || one.Request.Message == "" || one.Response.Fields == nil {
				t.Errorf("%s: got %+v, %v", m.Path, one, err)
			}
		}
	}
}

func TestAMethodIsDescribedWithItsFields(t *testing.T) {
	type field struct {
		Name, Type, Unit, Comment string
		Sensitive                 bool
		Values                    []string
		Fields                    []field
	}
	var got struct {
		Keys    []string
		Request struct {
			Raw    []string
			Fields []field
		}
	}
	if err := json.Unmarshal(get(t, doorOf(shipped(t)), "/v1/file_manager/Write"), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"root"}, got.Keys); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"content", "options.sha256"}, got.Request.Raw); diff != "" {
		t.Error(diff)
	}
	options := got.Request.Fields[2]
	if options.Name != "options" || options.Type != "gaia.file.v1.WriteOptions" || options.Comment != "options of the write; in the first message." {
		t.Errorf("got %+v", options)
	}
	last := options.Fields[len(options.Fields)-1]
	if last.Name != "lock" || last.Type != "string" || !last.Sensitive {
		t.Errorf("got %+v", last)
	}
	if durability := options.Fields[4]; durability.Name != "durability" || len(durability.Values) != 3 {
		t.Errorf("got %+v", durability)
	}
}
