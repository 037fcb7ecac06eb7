package coordinator

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	egressv1 "github.com/gaia-go/gaia/proto/gaia/egress/v1"
	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	optionsv1 "github.com/gaia-go/gaia/proto/gaia/options/v1"
	"github.com/gaia-go/gaia/sdk"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// loopback allows connections to servers of tests.
func loopback() *egressv1.Egress {
	return &egressv1.Egress{Rule: []*egressv1.Rule{{Action: egressv1.Rule_ALLOW, Addresses: []string{"loopback"}}}}
}

// start returns a coordinator with a config, and checks that it leaves nothing.
func start(t *testing.T, config *networkv1.Config) *Coordinator {
	t.Helper()
	goroutines := runtime.NumGoroutine()
	c := New()
	if err := c.Configure(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
		for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > goroutines; runtime.Gosched() {
			if time.Now().After(deadline) {
				stacks := make([]byte, 1<<20)
				t.Fatalf("%d goroutines, were %d\n%s", runtime.NumGoroutine(), goroutines, stacks[:runtime.Stack(stacks, true)])
			}
		}
	})
	return c
}

// address is where the proxy listens.
func (c *Coordinator) address() string { return c.door.tcp.Addr().String() }

// through is a client of HTTP that goes through the proxy.
func through(t *testing.T, proxy string, user *url.Userinfo) *http.Client {
	t.Helper()
	transport := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: proxy, User: user})}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// server is an HTTP server that says hello.
func server(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	t.Cleanup(s.Close)
	return s.URL
}

func statusOf(t *testing.T, c *http.Client, url string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(body)
}

func TestFaultsOfTheConfigNameTheirField(t *testing.T) {
	dir := t.TempDir()
	open := filepath.Join(dir, "open")
	if err := os.WriteFile(open, []byte("secret\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	client := func(c *networkv1.Client) map[string]*networkv1.Client { return map[string]*networkv1.Client{"a": c} }
	tests := map[string]struct {
		config *networkv1.Config
		want   []string // paths
	}{
		"no address":          {&networkv1.Config{Listen: "3128", Anonymous: true}, []string{"listen"}},
		"a name":              {&networkv1.Config{Listen: "localhost:3128", Anonymous: true}, []string{"listen"}},
		"nobody may":          {&networkv1.Config{Listen: "127.0.0.1:0"}, []string{"listen"}},
		"everybody may":       {&networkv1.Config{Listen: "0.0.0.0:0", Anonymous: true}, []string{"anonymous"}},
		"a port that is used": {&networkv1.Config{Listen: taken.Addr().String(), Anonymous: true}, []string{"listen"}},
		"no password":         {&networkv1.Config{Client: client(&networkv1.Client{})}, []string{`client["a"]`}},
		"two passwords":       {&networkv1.Config{Client: client(&networkv1.Client{Token: "a", TokenFile: "b"})}, []string{`client["a"].token_file`}},
		"a file for all":      {&networkv1.Config{Client: client(&networkv1.Client{TokenFile: open})}, []string{`client["a"].token_file`}},
		"an empty file":       {&networkv1.Config{Client: client(&networkv1.Client{TokenFile: empty})}, []string{`client["a"].token_file`}},
		"a directory":         {&networkv1.Config{Client: client(&networkv1.Client{TokenFile: dir})}, []string{`client["a"].token_file`}},
		"a FIFO":              {&networkv1.Config{Client: client(&networkv1.Client{TokenFile: fifo})}, []string{`client["a"].token_file`}},
		"no directory":        {&networkv1.Config{Client: client(&networkv1.Client{TokenFile: dir + "/none/a"})}, []string{`client["a"].token_file`}},
		"a colon":             {&networkv1.Config{Client: map[string]*networkv1.Client{"a:b": {Token: "x"}}}, []string{`client["a:b"]`}},
		"rates of nothing": {
			&networkv1.Config{NewConnections: &optionsv1.Rate{}, Client: client(&networkv1.Client{Token: "x", NewConnections: &optionsv1.Rate{Events: 1}})},
			[]string{"new_connections", `client["a"].new_connections`},
		},
		"rules":     {&networkv1.Config{Egress: &egressv1.Egress{Rule: []*egressv1.Rule{{Action: egressv1.Rule_ALLOW, Ports: []string{"0"}}}}}, []string{"egress.rule[0].ports[0]"}},
		"resolver":  {&networkv1.Config{Resolver: &networkv1.Resolver{Listen: "5353"}}, []string{"resolver.listen"}},
		"two of it": {&networkv1.Config{Listen: "x", Client: client(&networkv1.Client{})}, []string{"listen", `client["a"]`}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := start(t, &networkv1.Config{})
			err := c.Reconfigure(t.Context(), test.config)
			if got := paths(err); !cmp.Equal(got, test.want) {
				t.Errorf("paths: got %q, want %q (%v)", got, test.want, err)
			}
			if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), ".token-")) {
				t.Errorf("the fault shows the password or a file that nobody knows: %v", err)
			}
		})
	}
}

// paths of all field errors.
func paths(err error) []string {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []string
		for _, part := range joined.Unwrap() {
			all = append(all, paths(part)...)
		}
		return all
	}
	if field, ok := errors.AsType[*sdk.FieldError](err); ok {
		return []string{field.Path}
	}
	return nil
}

func TestATokenFileIsMadeOnceAndForItsOwnerOnly(t *testing.T) {
	file := filepath.Join(t.TempDir(), "crawler.token")
	config := &networkv1.Config{
		Listen: "127.0.0.1:0", Egress: loopback(), Client: map[string]*networkv1.Client{"crawler": {TokenFile: file}},
	}
	start(t, config)
	c := start(t, config)
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("got %v, %v, want mode 0600", info, err)
	}
	content, err := os.ReadFile(file)
	if err != nil || len(content) != 44 {
		t.Fatalf("got %d bytes, %v, want 43 characters of 256 bits and a line end", len(content), err)
	}
	right := url.UserPassword("crawler", strings.TrimSpace(string(content)))
	if code, body := statusOf(t, through(t, c.address(), right), server(t)); code != 200 {
		t.Errorf("with the password of the file: got %d %q", code, body)
	}
	if entries, _ := os.ReadDir(filepath.Dir(file)); len(entries) != 1 {
		t.Errorf("left over: %v", entries)
	}
}

func TestAnotherConfigKeepsListenersAndAllowedConnections(t *testing.T) {
	config := &networkv1.Config{Listen: "127.0.0.1:0", Anonymous: true, Egress: loopback()}
	c := start(t, config)
	address, origin := c.address(), server(t)
	client := through(t, address, nil)
	statusOf(t, client, origin)
	before := connections(t, c)

	config = &networkv1.Config{Listen: "127.0.0.1:0", Anonymous: true, Egress: loopback(), MaxConnections: 7, Resolver: &networkv1.Resolver{Cache: 1 << 20}}
	if err := c.Reconfigure(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if c.address() != address {
		t.Errorf("the listener: got %s, want %s still", c.address(), address)
	}
	if after := connections(t, c); len(after) != 1 || after[0].GetId() != before[0].GetId() {
		t.Errorf("connections: got %v, want %v", after, before)
	}
	if err := c.Reconfigure(t.Context(), &networkv1.Config{Listen: "nowhere", Anonymous: true}); err == nil {
		t.Error("a bad config was taken")
	}
	statusOf(t, client, origin)
	if err := c.Reconfigure(t.Context(), &networkv1.Config{Listen: "127.0.0.1:0", Anonymous: true}); err != nil {
		t.Fatal(err)
	}
	if after := connections(t, c); len(after) != 0 {
		t.Errorf("connections that are denied now: %v", after)
	}
	if code, body := statusOf(t, through(t, address, nil), origin); code != 403 || !strings.Contains(body, "default") {
		t.Errorf("a new one: got %d %q, want 403", code, body)
	}
	if err := c.Reconfigure(t.Context(), &networkv1.Config{}); err != nil {
		t.Fatal(err)
	}
	if conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address); err == nil {
		conn.Close()
		t.Error("the proxy listens although the config does not say so")
	}
}

func connections(t *testing.T, c *Coordinator) []*networkv1.Connection {
	t.Helper()
	list, err := c.Connections(t.Context(), &networkv1.ConnectionsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return list.GetConnections()
}

func TestCheckSaysWhichRuleAndWhy(t *testing.T) {
	c := start(t, &networkv1.Config{Egress: &egressv1.Egress{Rule: []*egressv1.Rule{
		{Action: egressv1.Rule_DENY, Hosts: []string{"*.internal.example"}},
		{Action: egressv1.Rule_ALLOW, Addresses: []string{"127.0.0.1"}, Ports: []string{"443"}},
	}}})
	tests := map[string]struct {
		request *networkv1.CheckRequest
		allowed bool
		rule    string // of the first address; "" where the name is enough
	}{
		"a name below": {&networkv1.CheckRequest{Host: "Db.Internal.Example."}, false, ""},
		"an address":   {&networkv1.CheckRequest{Host: "0x7f000001"}, true, "rule[1]"},
		"another port": {&networkv1.CheckRequest{Host: "127.0.0.1", Port: 80}, false, "default"},
		"a private":    {&networkv1.CheckRequest{Host: "10.0.0.1"}, false, "default"},
		"a public":     {&networkv1.CheckRequest{Host: "8.8.8.8"}, true, "default"},
		"a local name": {&networkv1.CheckRequest{Host: "localhost"}, true, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := c.Check(t.Context(), test.request)
			if err != nil {
				t.Fatal(err)
			}
			if got.GetAllowed() != test.allowed || got.GetReason() == "" || test.rule != "" && got.GetAddresses()[0].GetRule() != test.rule {
				t.Errorf("got %v, want allowed %v by %q", got, test.allowed, test.rule)
			}
		})
	}
	for _, bad := range []*networkv1.CheckRequest{{}, {Host: "a b"}, {Host: "a.example", Port: 65536}} {
		if _, err := c.Check(t.Context(), bad); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%v: got %v, want InvalidArgument", bad, err)
		}
	}
}

func TestResolveAsksForNothingThatNobodyMayReach(t *testing.T) {
	asked := make(chan string, 10)
	upstream := nameServer(t, asked)
	c := start(t, &networkv1.Config{
		Egress:   &egressv1.Egress{Default: egressv1.Egress_DENY, Rule: []*egressv1.Rule{{Action: egressv1.Rule_ALLOW, Hosts: []string{"*.example"}}}},
		Resolver: &networkv1.Resolver{Upstreams: []string{upstream}},
	})
	got, err := c.Resolve(t.Context(), &networkv1.ResolveRequest{Host: "A.Example.", Family: networkv1.Family_IPV4})
	if err != nil || got.GetHost() != "a.example" || !cmp.Equal(got.GetAddresses(), []string{"192.0.2.7"}) || got.GetFromCache() {
		t.Errorf("got %v, %v, want 192.0.2.7 for a.example", got, err)
	}
	if got, err = c.Resolve(t.Context(), &networkv1.ResolveRequest{Host: "a.example", Family: networkv1.Family_IPV4}); err != nil || !got.GetFromCache() || got.GetTtl().AsDuration() <= 0 {
		t.Errorf("again: got %v, %v, want it from the cache", got, err)
	}
	if got, err = c.Resolve(t.Context(), &networkv1.ResolveRequest{Host: "a.example", Family: networkv1.Family_IPV4, Refresh: true}); err != nil || got.GetFromCache() {
		t.Errorf("with refresh: got %v, %v, want it from upstream", got, err)
	}
	for len(asked) > 0 {
		<-asked
	}
	if _, err := c.Resolve(t.Context(), &networkv1.ResolveRequest{Host: "secret.data.test"}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a name of no rule: got %v, want PermissionDenied", err)
	}
	if len(asked) > 0 {
		t.Errorf("upstream was asked for %s", <-asked)
	}
	for host, want := range map[string]codes.Code{"none.example": codes.NotFound, "": codes.InvalidArgument} {
		if got, err := c.Resolve(t.Context(), &networkv1.ResolveRequest{Host: host}); status.Code(err) != want {
			t.Errorf("%q: got %v, %v, want %v", host, got, err, want)
		}
	}
	text := scrape(t, c)
	for _, want := range []string{`gaia_network_dns_hits_total 1`, `gaia_network_denied_total{rule="default"} 1`} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("metrics have no %q:\n%s", want, text)
		}
	}
}

func TestCloseConnectionNamesWhatItEnds(t *testing.T) {
	c := start(t, &networkv1.Config{})
	for name, test := range map[string]struct {
		request *networkv1.CloseConnectionRequest
		want    codes.Code
	}{
		"nothing":   {&networkv1.CloseConnectionRequest{}, codes.InvalidArgument},
		"no id":     {&networkv1.CloseConnectionRequest{Id: "7"}, codes.NotFound},
		"a bad id":  {&networkv1.CloseConnectionRequest{Id: "x"}, codes.NotFound},
		"a client":  {&networkv1.CloseConnectionRequest{Client: "a"}, codes.OK},
		"no host":   {&networkv1.CloseConnectionRequest{Host: "a b"}, codes.InvalidArgument},
		"some host": {&networkv1.CloseConnectionRequest{Host: "A.example."}, codes.OK},
	} {
		if _, err := c.CloseConnection(t.Context(), test.request); status.Code(err) != test.want {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
	}
}

func TestTheNameListenerObeysTheRulesAndOutlivesAnotherConfig(t *testing.T) {
	asked := make(chan string, 100)
	config := func(cache uint64) *networkv1.Config {
		return &networkv1.Config{
			Egress: &egressv1.Egress{Rule: []*egressv1.Rule{
				{Action: egressv1.Rule_ALLOW, Hosts: []string{"*.example"}, Addresses: []string{"192.0.2.0/24"}, Ports: []string{"5432"}},
				{Action: egressv1.Rule_DENY},
			}},
			Resolver: &networkv1.Resolver{Upstreams: []string{nameServer(t, asked)}, Listen: "127.0.0.1:0", Cache: cache},
		}
	}
	c := start(t, config(1<<20))
	at := c.names.Addr()
	dns := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, at.String())
	}}
	for _, cache := range []uint64{1 << 20, 2 << 20} {
		if err := c.Reconfigure(t.Context(), config(cache)); err != nil {
			t.Fatal(err)
		}
		if got := c.names.Addr(); got != at {
			t.Fatalf("the listener: got %v, want %v still", got, at)
		}
		if got, err := dns.LookupHost(t.Context(), "a.example."); err != nil || !cmp.Equal(got, []string{"192.0.2.7"}) {
			t.Errorf("an allowed name: got %q, %v", got, err)
		}
		for len(asked) > 0 {
			<-asked
		}
		if got, err := dns.LookupHost(t.Context(), "secret.data.test."); err == nil || len(asked) > 0 {
			t.Errorf("a denied name: got %q, and %d questions upstream", got, len(asked))
		}
	}
}

// silentServer takes questions and never answers.
func silentServer(t *testing.T) (address string, asked <-chan struct{}) {
	t.Helper()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan struct{}, 100)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if _, _, err := socket.ReadFrom(make([]byte, 1500)); err != nil {
				return
			}
			select {
			case seen <- struct{}{}:
			default:
			}
		}
	}()
	t.Cleanup(func() { socket.Close(); <-ended })
	return socket.LocalAddr().String(), seen
}

func TestAQuestionUnderWayGoesOnWithTheResolverOfANewConfig(t *testing.T) {
	for name, ask := range map[string]func(c *Coordinator) error{
		"Resolve": func(c *Coordinator) error {
			_, err := c.Resolve(t.Context(), &networkv1.ResolveRequest{Host: "a.example", Family: networkv1.Family_IPV4})
			return err
		},
		"Check": func(c *Coordinator) error {
			_, err := c.Check(t.Context(), &networkv1.CheckRequest{Host: "a.example"})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			silent, asked := silentServer(t)
			c := start(t, &networkv1.Config{Resolver: &networkv1.Resolver{Upstreams: []string{silent}, Timeout: durationpb.New(time.Minute)}})
			got := make(chan error, 1)
			go func() { got <- ask(c) }()
			<-asked
			config := &networkv1.Config{Resolver: &networkv1.Resolver{Upstreams: []string{nameServer(t, make(chan string, 100))}}}
			if err := c.Reconfigure(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			if err := <-got; err != nil {
				t.Errorf("got %v, want the answer of the new resolver", err)
			}
		})
	}
}

func TestAnUpstreamThatDoesNotAnswerIsUnavailable(t *testing.T) {
	silent, _ := silentServer(t)
	c := start(t, &networkv1.Config{
		Listen: "127.0.0.1:0", Anonymous: true,
		Resolver: &networkv1.Resolver{Upstreams: []string{silent}, Timeout: durationpb.New(20 * time.Millisecond)},
	})
	if _, err := c.Resolve(t.Context(), &networkv1.ResolveRequest{Host: "a.example"}); status.Code(err) != codes.Unavailable {
		t.Errorf("Resolve: got %v, want Unavailable", err)
	}
	if got, text := statusOf(t, through(t, c.address(), nil), "http://a.example/"); got != http.StatusBadGateway || !strings.Contains(text, "no upstream answered") {
		t.Errorf("the proxy: got %d, %s, want 502", got, text)
	}
}
