package allow

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func newList(t *testing.T, c *processv1.Command) *List {
	t.Helper()
	if c.Path == "" {
		c.Path = "/bin/x"
	}
	l, err := NewList(&processv1.Config{Command: map[string]*processv1.Command{"x": c}}, []string{"PATH=/bin", "HOME=/root", "LC_ALL=C", "GAIA_HOST_PID=1", "PLUGIN_X=1"})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestArgumentsHaveToMatchAsAWhole(t *testing.T) {
	l := newList(t, &processv1.Command{Args: []string{"-v|--verbose", "[a-z]+=.*", "a|b"}, FirstArgs: []string{"run"}})
	for _, test := range []struct {
		args []string
		ok   bool
	}{
		{nil, true},
		{[]string{"-v", "--verbose", "key=", "key=value x", "a", "b"}, true},
		{[]string{"-vx"}, false},
		{[]string{"x-v"}, false},
		{[]string{""}, false},
		{[]string{"ab"}, false},
		{[]string{"key=a\nb"}, false},
		{[]string{"-v\n"}, false},
	} {
		got, err := l.Check(&processv1.Spec{Command: "x", Args: test.args})
		if (err == nil) != test.ok {
			t.Errorf("%q: %v", test.args, err)
		}
		if err != nil && status.Code(err) != codes.PermissionDenied {
			t.Errorf("%q: %v, want PermissionDenied", test.args, err)
		}
		if want := append([]string{"run"}, test.args...); err == nil && !cmp.Equal(got.Args, want) {
			t.Errorf("got %q, want %q", got.Args, want)
		}
	}
}

func TestTheEnvironmentIsTheHostsTheOperatorsAndTheCallers(t *testing.T) {
	for _, test := range []struct {
		name    string
		command *processv1.Command
		caller  map[string]string
		want    []string
	}{
		{"by default", &processv1.Command{}, nil, []string{"PATH=/bin"}},
		{"the host's, but never what is between it and us", &processv1.Command{HostEnv: []string{"*"}}, nil, []string{"HOME=/root", "LC_ALL=C", "PATH=/bin"}},
		{"a prefix", &processv1.Command{HostEnv: []string{"LC_*"}}, nil, []string{"LC_ALL=C"}},
		{"who comes later wins", &processv1.Command{Env: map[string]string{"PATH": "/x", "A": "1"}, CallerEnv: []string{"A"}}, map[string]string{"A": "2"}, []string{"A=2", "PATH=/x"}},
	} {
		got, err := newList(t, test.command).Check(&processv1.Spec{Command: "x", Env: test.caller})
		if err != nil || !cmp.Equal(got.Env, test.want) {
			t.Errorf("%s: got %q and %v, want %q", test.name, got.Env, err, test.want)
		}
	}
	for _, name := range []string{"B", "", "A=", "A\x00"} {
		_, err := newList(t, &processv1.Command{CallerEnv: []string{"A"}}).Check(&processv1.Spec{Command: "x", Env: map[string]string{name: "secret"}})
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("variable %q: %v", name, err)
		}
	}
}

func TestProcessesAreToldOfTheProxyUnlessSomebodySetsAnother(t *testing.T) {
	const proxy = "http://ci:p%40ss@127.0.0.1:3128"
	told := []string{
		"ALL_PROXY=" + proxy, "HTTPS_PROXY=" + proxy, "HTTP_PROXY=" + proxy, "NODE_USE_ENV_PROXY=1", "NO_PROXY=" + noProxy,
		"all_proxy=" + proxy, "http_proxy=" + proxy, "https_proxy=" + proxy, "no_proxy=" + noProxy,
	}
	without := func(names ...string) []string {
		return slices.DeleteFunc(slices.Clone(told), func(entry string) bool {
			name, _, _ := strings.Cut(entry, "=")
			return slices.Contains(names, name)
		})
	}
	for _, test := range []struct {
		name    string
		command *processv1.Command
		caller  map[string]string
		want    []string
	}{
		{"by default", &processv1.Command{}, nil, told},
		{"the host's is another", &processv1.Command{HostEnv: []string{"*"}}, nil, told},
		{"the command has its own, in one case", &processv1.Command{Env: map[string]string{"HTTPS_PROXY": "x"}}, nil, append(without("HTTPS_PROXY", "https_proxy"), "HTTPS_PROXY=x")},
		{"the command has none", &processv1.Command{Env: map[string]string{"no_proxy": "*", "NODE_USE_ENV_PROXY": ""}}, nil, append(without("NO_PROXY", "no_proxy", "NODE_USE_ENV_PROXY"), "no_proxy=*", "NODE_USE_ENV_PROXY=")},
		{"the caller has its own", &processv1.Command{CallerEnv: []string{"*"}}, map[string]string{"all_proxy": "y"}, append(without("ALL_PROXY", "all_proxy"), "all_proxy=y")},
	} {
		test.command.Path = "/bin/x"
		config := &processv1.Config{Command: map[string]*processv1.Command{"x": test.command}, Proxy: proxy}
		l, err := NewList(config, []string{"HTTP_PROXY=host", "no_proxy=host"})
		if err != nil {
			t.Fatal(err)
		}
		got, err := l.Check(&processv1.Spec{Command: "x", Env: test.caller})
		slices.Sort(test.want)
		if err != nil || !cmp.Equal(got.Env, test.want) {
			t.Errorf("%s: %v\n%s", test.name, err, cmp.Diff(test.want, got.Env))
		}
	}
}

func TestAProxyIsASchemeAHostAndAPort(t *testing.T) {
	for text, ok := range map[string]bool{
		"": true, "http://127.0.0.1:3128": true, "https://u:hush@proxy.example:443/": true, "socks5h://[::1]:1080": true, "socks5://x:1": true,
		"http://hush@127.0.0.1": false, "127.0.0.1:3128": false, "hush": false, "ftp://hush:1": false, "http://:3128": false, "http://u:hush@x:0": false,
		"http://u:hush@x:65536": false, "http://u:hush@x:1/path": false, "http://u:hush@x:1?q": false, "http://u:hush@x:1#f": false,
		"http://u:hu sh@x:1": false, "http://u:hush@x:1\n": false, "http://u:hush%@x:1": false, "http://u:hush/x@x:1": false, "HTTP://hush:80": true,
	} {
		_, err := NewList(&processv1.Config{Proxy: text}, nil)
		if (err == nil) != ok {
			t.Errorf("%q: %v, want it taken: %v", text, err, ok)
		}
		if err != nil && (strings.Contains(err.Error(), "hush") || !strings.HasPrefix(err.Error(), "proxy: ")) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestADirectoryIsBelowOneThatIsAllowedAlsoThroughLinks(t *testing.T) {
	root := t.TempDir()
	allowed, other := filepath.Join(root, "allowed"), filepath.Join(root, "allowed-not")
	for _, dir := range []string{filepath.Join(allowed, "sub"), other} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"out": other, "in": filepath.Join(allowed, "sub")} {
		if err := os.Symlink(to, filepath.Join(allowed, link)); err != nil {
			t.Fatal(err)
		}
	}
	l := newList(t, &processv1.Command{Dir: "/var", CallerDirs: []string{allowed + "/"}})
	for dir, want := range map[string]codes.Code{
		"":                        codes.OK,
		"/var":                    codes.OK,
		allowed:                   codes.OK,
		allowed + "/sub":          codes.OK,
		allowed + "/in":           codes.OK,
		allowed + "/out":          codes.PermissionDenied,
		allowed + "/sub/../../..": codes.PermissionDenied,
		other:                     codes.PermissionDenied,
		"/":                       codes.PermissionDenied,
		"sub":                     codes.InvalidArgument,
	} {
		if _, err := l.Check(&processv1.Spec{Command: "x", Dir: dir}); status.Code(err) != want {
			t.Errorf("%q: got %v, want %v", dir, err, want)
		}
	}
}

func TestLimitsAreCeilingsAndDefaults(t *testing.T) {
	l := newList(t, &processv1.Command{Limits: &processv1.CommandLimits{Memory: 100 << 20, Cpu: 2}})
	for _, test := range []struct {
		asked *processv1.Limits
		want  Limits
		code  codes.Code
	}{
		{nil, Limits{Memory: 100 << 20, CPU: 2}, codes.OK},
		{&processv1.Limits{Memory: 50 << 20, Processes: 7, OpenFiles: 9}, Limits{Memory: 50 << 20, CPU: 2, Processes: 7, OpenFiles: 9}, codes.OK},
		{&processv1.Limits{Memory: 101 << 20}, Limits{}, codes.PermissionDenied},
		{&processv1.Limits{Cpu: 2.5}, Limits{}, codes.PermissionDenied},
		{&processv1.Limits{Cpu: -1}, Limits{}, codes.InvalidArgument},
		{&processv1.Limits{Cpu: 1e300}, Limits{}, codes.InvalidArgument},
		{&processv1.Limits{Memory: 1}, Limits{}, codes.InvalidArgument},
		{&processv1.Limits{Processes: 1<<22 + 1}, Limits{}, codes.InvalidArgument},
	} {
		got, err := l.Check(&processv1.Spec{Command: "x", Limits: test.asked})
		if status.Code(err) != test.code || got.Limits != test.want {
			t.Errorf("%v: got %+v and %v, want %+v and %v", test.asked, got.Limits, err, test.want, test.code)
		}
	}
}

func TestFaultsOfAConfigurationAreAllTold(t *testing.T) {
	_, err := NewList(&processv1.Config{Command: map[string]*processv1.Command{
		"a": {Path: "bin/a", Args: []string{"ok", "("}, Env: map[string]string{"A=B": "secret"}},
		"b": {Path: "/b", Dir: "x", CallerDirs: []string{"y"}, Read: []string{"z"}, Args: []string{"a)|(b"}},
	}}, nil)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{`command["a"].path: `, `command["a"].args[1]: `, `command["a"].env["A=B"]: `, `command["b"].dir: `, `command["b"].caller_dirs[0]: `, `command["b"].read[0]: `, `command["b"].args[0]: `} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v\nwant %q in it", err, want)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("a value is shown: %v", err)
	}
}

func FuzzNoSpecPanicsOrPassesWhatDoesNotMatch(f *testing.F) {
	f.Add("x", "12", "A", "1", "/tmp", "nobody")
	l, err := NewList(&processv1.Config{Command: map[string]*processv1.Command{"x": {Path: "/bin/x", Args: []string{"[0-9]+"}, CallerEnv: []string{"A*"}, CallerDirs: []string{"/tmp"}}}}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, command, arg, name, value, dir, user string) {
		c, err := l.Check(&processv1.Spec{Command: command, Args: []string{arg}, Env: map[string]string{name: value}, Dir: dir, User: user})
		if err != nil {
			return
		}
		if command != "x" || strings.Trim(c.Args[0], "0123456789") != "" || arg == "" || !strings.HasPrefix(name, "A") || user != "" {
			t.Errorf("passed: %+v", c)
		}
	})
}
