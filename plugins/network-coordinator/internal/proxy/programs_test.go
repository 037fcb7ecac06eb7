package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/cgi" //nolint:gosec // of a server of tests, without a proxy of its own
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	"github.com/gaia-go/gaia/sdk/egress"
)

// site is the name of a server of tests, which only the proxy can resolve: what
// reaches the server has come through it. httptest's certificate is for it.
const site = "example.com"

// names resolves what tests ask for.
type names map[string]netip.Addr

func (n names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if addr, ok := n[host]; ok {
		return []netip.Addr{addr}, nil
	}
	return nil, fmt.Errorf("%s is not known here", host)
}

func withNames(f *fixture) {
	f.dialer.Resolver = names{site: netip.MustParseAddr("127.0.0.1"), "denied." + site: netip.MustParseAddr("127.0.0.66")}
}

func withClient(f *fixture) {
	f.server.SetGate(&Gate{Clients: map[string]Token{"crawler": NewToken("open sesame")}, MaxConnections: 5000})
}

// tlsSite serves handler by TLS under the name of the site. ca is the file of
// who has signed its certificate.
func tlsSite(t *testing.T, handler http.Handler) (base, ca string, pool *x509.CertPool) {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AddCert(server.Certificate())
	_, port, _ := cutPort(strings.TrimPrefix(server.URL, "https://"))
	return "https://" + site + ":" + port, ca, pool
}

// run runs a program, which reaches the network by the proxy only.
func run(t *testing.T, env []string, name string, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skip(err)
	}
	command := exec.CommandContext(t.Context(), name, args...)
	command.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GIT_TERMINAL_PROMPT=0"}, env...)
	command.WaitDelay = 10 * time.Second
	out, err := command.CombinedOutput()
	return string(out), err
}

func TestCurlGoesThroughTheProxy(t *testing.T) {
	f := start(t, withNames, withClient)
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { say(w, "hello %s", r.URL.Path) })
	secure, ca, _ := tlsSite(t, hello)
	_, port, _ := cutPort(newServer(t, hello))
	plain := "http://" + site + ":" + port
	for _, proxy := range []string{"http://crawler:open%20sesame@" + f.addr, "socks5h://crawler:open%20sesame@" + f.addr} {
		for _, url := range []string{secure, plain} {
			for how, setting := range map[string][2][]string{
				"-x":        {nil, {"-x", proxy}},
				"ALL_PROXY": {{"ALL_PROXY=" + proxy}, nil},
			} {
				args := append([]string{"-sS", "--cacert", ca, url + "/a", url + "/b"}, setting[1]...)
				if out, err := run(t, setting[0], "curl", args...); err != nil || out != "hello /ahello /b" {
					t.Errorf("%s %s %s: got %q, %v", how, proxy, url, out, err)
				}
			}
		}
	}
	f.list(0)
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"a denied name":    {[]string{"-x", "http://crawler:open%20sesame@" + f.addr, "https://denied." + site}, "403"},
		"no password":      {[]string{"-x", "http://" + f.addr, secure}, "407"},
		"a wrong password": {[]string{"-x", "socks5h://crawler:sesame@" + f.addr, secure}, "rejected"},
		"an unknown name":  {[]string{"-x", "http://crawler:open%20sesame@" + f.addr, "https://unknown.invalid"}, "502"},
	} {
		if out, err := run(t, nil, "curl", append([]string{"-sS", "--cacert", ca}, test.args...)...); err == nil || !strings.Contains(out, test.want) {
			t.Errorf("%s: got %q, %v, want %s", name, out, err, test.want)
		}
	}
}

func TestGitClonesThroughTheProxy(t *testing.T) {
	f := start(t, withNames, withClient)
	root := t.TempDir()
	source, bare := filepath.Join(root, "source"), filepath.Join(root, "www", "project.git")
	for _, args := range [][]string{
		{"init", "-q", source},
		{"-C", source, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "the first"},
		{"clone", "-q", "--bare", source, bare},
	} {
		if out, err := run(t, nil, "git", args...); err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip(err)
	}
	base, ca, _ := tlsSite(t, &cgi.Handler{
		Path: git, Args: []string{"http-backend"}, Root: "/",
		Env: []string{"GIT_PROJECT_ROOT=" + filepath.Join(root, "www"), "GIT_HTTP_EXPORT_ALL=1", "HOME=" + root, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
	})
	for i, proxy := range []string{"http://crawler:open%20sesame@" + f.addr, "socks5h://crawler:open%20sesame@" + f.addr} {
		clone := filepath.Join(root, fmt.Sprint("clone", i))
		if out, err := run(t, []string{"GIT_SSL_CAINFO=" + ca}, "git", "-c", "http.proxy="+proxy, "clone", "-q", base+"/project.git", clone); err != nil {
			t.Fatalf("%s: %v\n%s", proxy, err, out)
		}
		if out, err := run(t, nil, "git", "-C", clone, "log", "--format=%s"); err != nil || strings.TrimSpace(out) != "the first" {
			t.Errorf("%s: got %q, %v", proxy, out, err)
		}
	}
}

func TestGoGoesThroughTheProxy(t *testing.T) {
	f := start(t, withNames, withClient)
	base, _, pool := tlsSite(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { say(w, "%s", r.Proto) }))
	for _, scheme := range []string{"http", "socks5h"} {
		client := f.client(url.UserPassword("crawler", "open sesame"), scheme)
		transport := client.Transport.(*http.Transport)
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
		if response, body := get(t, client, base); response.StatusCode != 200 || body != "HTTP/1.1" {
			t.Errorf("%s: got %d %q", scheme, response.StatusCode, body)
		}
		want := map[string]networkv1.Door{"http": networkv1.Door_CONNECT, "socks5h": networkv1.Door_SOCKS5}[scheme]
		if got := f.list(1)[0]; got.GetBy() != want || got.GetClient() != "crawler" || got.GetHost() != site {
			t.Errorf("%s: the connection is shown as %v", scheme, got)
		}
		transport.CloseIdleConnections()
		f.list(0)
	}
}

// chromium is where Debian puts it.
const chromium = "/usr/lib/chromium/chromium-headless-shell"

func TestEveryRequestOfAPageObeysTheRules(t *testing.T) {
	if _, err := os.Stat(chromium); err != nil {
		t.Skip(err)
	}
	var denied, arrived atomic.Int32
	f := start(t, withNames, func(f *fixture) {
		f.dialer.Reported = func(*egress.Denied) { denied.Add(1) }
	})
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			w.Header().Set("Content-Type", "text/html")
			say(w, `<p id=a>no script</p><img src="//denied.%[1]s/image">
<script src="/script.js"></script><script>fetch("//denied.%[1]s/fetch", {mode: "no-cors"})</script>`, site)
		case "/script.js":
			say(w, `document.getElementById("a").textContent = "script ran by " + location.protocol`)
		default:
			arrived.Add(1)
		}
	})
	secure, _, _ := tlsSite(t, page)
	_, port, _ := cutPort(newServer(t, page))
	for _, url := range []string{secure, "http://" + site + ":" + port} {
		for _, scheme := range []string{"http", "socks5"} {
			out, err := run(t, nil, chromium, "--no-sandbox", "--headless", "--disable-gpu", "--disable-quic", "--no-first-run",
				"--disable-background-networking", "--disable-component-update", "--disable-sync", "--user-data-dir="+t.TempDir(),
				"--ignore-certificate-errors", "--proxy-server="+scheme+"://"+f.addr, "--proxy-bypass-list=<-loopback>",
				"--virtual-time-budget=5000", "--dump-dom", url)
			if want := "script ran by " + url[:strings.Index(url, ":")+1]; err != nil || !strings.Contains(out, want) {
				t.Errorf("%s by %s: got %q, %v, want %q", url, scheme, out, err, want)
			}
		}
	}
	if arrived.Load() > 0 || denied.Load() == 0 {
		t.Errorf("of the requests to the denied host %d have arrived and %d were denied", arrived.Load(), denied.Load())
	}
}
