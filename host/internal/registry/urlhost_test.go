package registry

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// hosts are URLs and their hosts.
var hosts = []struct{ url, host string }{
	{"http://example.com", "example.com"},
	{"https://example.com/", "example.com"},
	{"https://example.com:8443/a/b?c=d#e", "example.com"},
	{"http://example.com?q=/x", "example.com"},
	{"http://example.com#/x", "example.com"},
	{"http://example.com:/", "example.com"},
	{"http://under_score.example-1.com/", "under_score.example-1.com"},
	{"http://192.0.2.1:80/", "192.0.2.1"},

	// What the seed's own parser got wrong.
	{"http://h?q=/x", "h"},
	{"HTTPS://Example.com/a", "example.com"},
	{"http://user:pw@h/a", "h"},

	// Other spellings of the same destination.
	{"hTTp://EXAMPLE.COM./", "example.com"},
	{"http://example.com../", "example.com"},
	{"http://example.com.:80/", "example.com"},
	{"http://a@b@example.com/", "example.com"},
	{"http://evil.com%40@example.com/", "example.com"},
	{"http://example.com:80@h/", "h"},
	{"http://münchen.example/", "xn--mnchen-3ya.example"},
	{"http://MÜNCHEN.example/", "xn--mnchen-3ya.example"},
	{"http://mu\u0308nchen.example./", "xn--mnchen-3ya.example"},
	{"http://m%C3%BCnchen.example/", "xn--mnchen-3ya.example"},
	{"http://XN--MNCHEN-3YA.example/", "xn--mnchen-3ya.example"},
	{"http://ｅｘａｍｐｌｅ.com/", "example.com"},
	{"http://example。com。/", "example.com"},
	{"http://exa\u00admple.com/", "example.com"},
	{"http://%E2%84%AAelvin.com/", "kelvin.com"}, // the Kelvin sign
	{"http://１９２.0.2.1/", "192.0.2.1"},
	{"http://exa" + strings.Repeat("\u00ad", 2000) + "mple.com/", "example.com"},
	{"http://" + strings.Repeat("ｶﾞ", 130) + ".com/", mustASCII(strings.Repeat("ガ", 130) + ".com")},
	{"http://" + strings.Repeat("𝗮", 63) + "." + strings.Repeat("𝗮", 63) + "." + strings.Repeat("𝗮", 63) + ".example.com/", strings.Repeat(strings.Repeat("a", 63)+".", 3) + "example.com"},
	{"http://[2001:DB8::1]/", "2001:db8::1"},
	{"http://[2001:db8:0:0:0:0:0:1]:8080/", "2001:db8::1"},
	{"http://[::ffff:192.0.2.1]/", "192.0.2.1"},
	{"http://[::FFFF:c000:201]/", "192.0.2.1"},
	{"http://[fe80::1%25eth0]/", "fe80::1"},
	{"http://user@[2001:db8::1]:1/", "2001:db8::1"},

	// Other schemes, and none.
	{"ftp://Example.com/", "example.com"},
	{"unix+http://Example.com/", "example.com"},
	{"//Example.com/a", "example.com"},

	// A fault behind the host does not empty it.
	{"http://example.com/%zz", "example.com"},
	{"http://Example.com/\x00", "example.com"},
	{"http://user@example.com/%zz", "example.com"},
	{"http://[::1]/%zz", "::1"},

	// No URL with a host.
	{"", ""},
	{"*", ""},
	{"example.com", ""},
	{"example.com/a", ""},
	{"/a//b", ""},
	{"mailto:a@example.com", ""},
	{"localhost:8080", ""},
	{"http:", ""},
	{"http:/", ""},
	{"http://", ""},
	{"http:///a", ""},
	{"http://:80/", ""},
	{"http://./", ""},
	{"http:example.com", ""},
	{" http://example.com", ""},
	{"http://exa mple.com/", ""},
	{"http://ex%61mple.com/", ""}, // net/url refuses it
	{"http://example.com:port/", ""},
	{"http://example.com:80:80/", ""},
	{"http://example.com\\@h/", ""},
	{"http://[::1", ""},
	{"http://[example.com]/", ""},
	{"httpſ://example.com/", ""},
	{"http\x00://example.com/", ""},
}

func mustASCII(name string) string {
	ascii, err := idna.Lookup.ToASCII(name)
	if err != nil {
		panic(err)
	}
	return ascii
}

func TestTheHostOfAURL(t *testing.T) {
	for _, c := range hosts {
		for _, scratch := range [][]byte{nil, make([]byte, 256)} {
			if got := urlHost([]byte(c.url), scratch); string(got) != c.host {
				t.Errorf("urlHost(%.100q) = %q, want %q", c.url, got, c.host)
			}
		}
	}
}

func TestTheHostOfAURLIsWhereNetHTTPGoes(t *testing.T) {
	checked := 0
	for _, c := range hosts {
		if host, ok := dialled(t, c.url); ok {
			checked++
			if got := urlHost([]byte(c.url), nil); string(got) != destination(host) {
				t.Errorf("urlHost(%.100q) = %q, net/http dials %q", c.url, got, host)
			}
		}
	}
	if checked < 25 {
		t.Errorf("only %d of %d were dialled", checked, len(hosts))
	}
}

func TestAPlainURLTakesTheFastPath(t *testing.T) {
	for _, text := range []string{"http://h", "https://h/a", "HTTP://User.Example:80?q", "https://h.:#"} {
		if _, ok := plainHost([]byte(text)); !ok {
			t.Errorf("%q does not", text)
		}
	}
	given := []byte("https://example.com/a")
	if got := urlHost(given, nil); &got[0] != &given[8] {
		t.Error("a host in lower case is copied")
	}
}

// What the conversion ignores could pad a name to any length.
func TestAllThatIDNAIgnoresIsDropped(t *testing.T) {
	for r := rune(utf8.RuneSelf); r < 0xE1000; r++ {
		switch r {
		case 0xD800: // surrogates
			r = 0xE000
		case 0x40000: // planes without a character
			r = 0xE0000
		}
		if name, _ := idna.Lookup.ToASCII("a" + string(r) + "b"); name == "ab" && dropIgnored(r) >= 0 {
			t.Errorf("%U is ignored but not dropped", r)
		}
	}
}

var errDialled = errors.New("dialled")

// dialled returns the host that net/http goes to for a URL.
func dialled(t *testing.T, text string) (host string, ok bool) {
	t.Helper()
	var address string
	transport := &http.Transport{DialContext: func(_ context.Context, _, a string) (net.Conn, error) {
		address = a
		return nil, errDialled
	}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, text, nil)
	if err != nil {
		return "", false
	}
	if response, err := transport.RoundTrip(request); !errors.Is(err, errDialled) {
		if err == nil {
			response.Body.Close()
		}
		return "", false
	}
	host, _, err = net.SplitHostPort(address)
	return host, err == nil
}

// destination tells hosts apart as a resolver and a dialler do.
func destination(host string) string {
	host = strings.TrimRight(strings.ToLower(host), ".")
	if address, err := netip.ParseAddr(host); err == nil {
		return address.Unmap().WithZone("").String()
	}
	return host
}

// FuzzURLHost compares with net/url and with where net/http goes.
func FuzzURLHost(f *testing.F) {
	for _, c := range hosts {
		f.Add(c.url)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var scratch [256]byte
		got := string(urlHost([]byte(text), scratch[:]))
		u, err := url.Parse(text)
		if err == nil && isASCII(u.Hostname()) && got != destination(u.Hostname()) {
			t.Errorf("urlHost(%.500q) = %.500q, net/url has %.500q", text, got, u.Hostname())
		}
		// A name beyond ASCII is one that net/http could not convert; such a
		// name, or one of more than 253 characters, no resolver looks up.
		if host, ok := dialled(t, text); ok && isASCII(host) && len(host) <= 254 && got != destination(host) {
			t.Errorf("urlHost(%.500q) = %.500q, net/http dials %q", text, got, host)
		}
		if again := string(urlHost([]byte("http://"+got+"/"), nil)); isASCII(got) && !strings.Contains(got, ":") && again != got {
			if _, err := url.Parse("http://" + got + "/"); err == nil {
				t.Errorf("urlHost(%.500q) = %.500q, which has the host %q", text, got, again)
			}
		}
	})
}

func BenchmarkURLHost(b *testing.B) {
	for name, text := range map[string]string{
		"plain":       "https://api.github.com/repos/gaia-go/gaia/issues?page=2",
		"upper":       "https://API.GitHub.com:443/repos/gaia-go/gaia/issues?page=2",
		"user":        "https://user:password@api.github.com/repos",
		"ipv6":        "https://[2001:db8::1]:8443/",
		"idn":         "https://münchen.example/",
		"idn-longest": "https://" + longestName() + "/",
	} {
		b.Run(name, func(b *testing.B) {
			given := []byte(text)
			b.ReportAllocs()
			for b.Loop() {
				var scratch [256]byte
				if len(urlHost(given, scratch[:])) == 0 {
					b.Fatal("no host")
				}
			}
		})
	}
}

// longestName is the name that takes the longest to convert.
func longestName() string {
	var b strings.Builder
	for r := 'ऄ'; utf8.RuneCountInString(b.String()) < maxName; r++ {
		if _, err := idna.Lookup.ToASCII(string(r)); err == nil {
			b.WriteRune(r)
		}
	}
	return b.String()
}
