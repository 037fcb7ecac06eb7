package conformance

import (
	"os"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gaia-go/gaia/sdk/internal/proctest"
)

// TestMain makes the test binary the plugin under test.
func TestMain(m *testing.M) {
	if fault := os.Getenv(envFault); fault != "" {
		runBroken(fault)
		return
	}
	m.Run()
}

func options(t *testing.T, fault string) Options {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		Binary: binary,
		Env:    []string{envFault + "=" + fault},
		Config: func(protoreflect.MessageDescriptor) (proto.Message, error) { return wrapperspb.String("Ada"), nil },
	}
}

func TestAGoodPluginPassesEveryCheck(t *testing.T) {
	proctest.LeavesNothing(t)
	results, err := Run(t.Context(), options(t, "none"))
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != len(checks()) {
		t.Errorf("got %d results, want %d", len(results), len(checks()))
	}
	for _, r := range results {
		t.Logf("%.1fs %s", r.Seconds, r.Name)
		if r.Status != Passed {
			t.Errorf("%s: %s %s\nwant %s\ngot  %s", r.Name, r.Status, r.Reason, r.Want, r.Got)
		}
	}
}

// TestEachCheckFindsItsFault runs each check, and those that it needs, against a
// plugin that does wrong what it looks for, and nothing else.
func TestEachCheckFindsItsFault(t *testing.T) {
	found := make(map[string]bool)
	for fault, name := range map[string]string{
		"silent by hand":          "Run by hand, it says what it is",
		"no handshake":            "It shakes hands",
		"prints":                  "Standard output has the handshake and nothing else",
		"half a description":      "Its description is whole",
		"undocumented":            "Its API is documented",
		"unwell":                  "It says that it is well",
		"refuses its config":      "It takes its config",
		"fails without a config":  "It takes no config{} block, or says what it misses",
		"takes any config":        "It refuses what is no config and goes on",
		"says the wrong field":    "It takes a value or says what is wrong with it, where",
		"takes one config":        "It takes another config while it runs",
		"knows everything":        "A method that it does not have is Unimplemented",
		"dies of rubbish":         "What is no message is an error, and it lives on",
		"dies":                    "An extreme request is answered in order",
		"panics":                  "An extreme request is answered in order",
		"small messages":          "A message may have 5 MiB",
		"one at a time":           "It serves many calls at once",
		"no link":                 "It serves the link that it promises",
		"ignores deadlines":       "A call ends when its deadline is over",
		"ignores its callers":     "A call ends when its caller has gone",
		"leaks":                   "Cancelled calls leave nothing behind",
		"strange metrics":         "Its metrics are fit for Prometheus",
		"hears no announcement":   "Calls that last end when a drain is announced, and others go on",
		"drains when told of it":  "Calls that last end when a drain is announced, and others go on",
		"takes calls after Drain": "Drain lets nobody in and waits for calls",
		"cuts calls off":          "SIGTERM loses no call and ends it with code 0",
		"ends with 1":             "SIGTERM loses no call and ends it with code 0",
		"does not end":            "SIGTERM loses no call and ends it with code 0",
		"outlives its host":       "It ends with its host",
		"trips over its lock":     "It starts again after kill -9",
		"leaves files":            "Twenty starts leave nothing behind",
	} {
		found[name] = true
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			finds(t, fault, name)
		})
	}
	for _, c := range checks() {
		if !found[c.name] {
			t.Errorf("no fault for the check %q", c.name)
		}
	}
}

func finds(t *testing.T, fault, name string) {
	t.Helper()
	needed := []string{"It shakes hands", "Its description is whole", "It takes its config", name}
	list := slices.DeleteFunc(checks(), func(c check) bool { return !slices.Contains(needed, c.name) })
	results, err := options(t, fault).run(t.Context(), list)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		switch {
		case r.Name == name && r.Status != Failed:
			t.Errorf("%s: %s %s, want it to fail", r.Name, r.Status, r.Reason)
		case r.Name == name && (r.Want == "" || r.Got == "" || r.Fix == ""):
			t.Errorf("%s: it does not say all that helps: %+v", r.Name, r)
		case r.Name == name:
			t.Logf("want %s\ngot %s\nto do %s", r.Want, r.Got, r.Fix)
			return // what comes after may be skipped
		case r.Status != Passed:
			t.Errorf("%s: %s %s; want %s, got %s", r.Name, r.Status, r.Reason, r.Want, r.Got)
		}
	}
}

func TestWhatIsNoProgramIsAnError(t *testing.T) {
	for _, binary := range []string{"/no/such/program", t.TempDir(), "/etc/passwd"} {
		if results, err := Run(t.Context(), Options{Binary: binary}); err == nil {
			t.Errorf("%s: got results %v, want an error", binary, results)
		}
	}
}
