package plugintest

import (
	"testing"

	"github.com/gaia-go/gaia/sdk/conformance"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Conformance builds a plugin and checks that it keeps all promises of its
// contract with the host, each in a subtest. It takes some seconds and the
// options of Start. The plugin's output appears in the test's log.
func Conformance(t *testing.T, opts ...Option) {
	t.Helper()
	o := options{}
	for _, opt := range opts {
		opt(&o)
	}
	if o.binary == "" {
		o.binary = build(t)
	}
	checked := conformance.Options{
		Binary: o.binary,
		Env:    o.env,
		Request: func(m protoreflect.MethodDescriptor) (proto.Message, error) {
			name := string(m.Name())
			request := o.requests[name]
			delete(o.requests, name)
			return request, nil
		},
		Output: func(line []byte) { _, _ = t.Output().Write(append([]byte("plugin: "), append(line, '\n')...)) },
		Done:   func(r conformance.Result) { t.Run(r.Name, func(t *testing.T) { report(t, r) }) },
	}
	if o.config != nil {
		checked.Config = func(protoreflect.MessageDescriptor) (proto.Message, error) { return o.config, nil }
	}
	if _, err := conformance.Run(t.Context(), checked); err != nil {
		t.Fatalf("plugintest: %v", err)
	}
	for name := range o.requests {
		t.Errorf("plugintest: a request is given for %s, and the plugin has no such method", name)
	}
}

func report(t *testing.T, r conformance.Result) {
	t.Helper()
	switch r.Status {
	case conformance.Passed:
	case conformance.Skipped:
		t.Skip(r.Reason)
	case conformance.Failed:
		t.Errorf("\nwant  %s\ngot   %s\nto do %s", r.Want, r.Got, r.Fix)
	}
}
