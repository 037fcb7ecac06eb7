package proxy

import (
	"bytes"
	"io"
	"net/netip"
	"strconv"
	"testing"
)

// socksTo is a SOCKS5 request for a name or an address, CONNECT if command is 1.
func socksTo(t *testing.T, command byte, target string) []byte {
	t.Helper()
	at := netip.MustParseAddrPort(target)
	kind := byte(socksIPv4)
	if at.Addr().Is6() {
		kind = socksIPv6
	}
	request := append([]byte{5, command, 0, kind}, at.Addr().AsSlice()...)
	return append(request, byte(at.Port()>>8), byte(at.Port()))
}

func socksToName(name string, port string) []byte {
	n, _ := strconv.Atoi(port)
	request := append([]byte{5, 1, 0, socksName, byte(len(name))}, name...)
	return append(request, byte(n>>8), byte(n))
}

func TestSOCKSAnswersAsRFC1928Says(t *testing.T) {
	f := start(t)
	origin := echo(t)
	_, port, _ := cutPort(origin)
	none := []byte{5, 1, 0}
	tests := map[string]struct {
		greeting, request []byte
		want              []byte // the beginning of what comes
	}{
		"an address":              {none, socksTo(t, 1, origin), []byte{5, 0, 5, 0, 0, 1}},
		"a name":                  {none, socksToName("localhost", port), []byte{5, 0, 5, 0, 0}},
		"an address as a name":    {none, socksToName("0x7f.1", port), []byte{5, 0, 5, 0, 0}},
		"several methods":         {[]byte{5, 3, 1, 2, 0}, socksTo(t, 1, origin), []byte{5, 0, 5, 0, 0, 1}},
		"no method that fits":     {[]byte{5, 1, 1}, nil, []byte{5, 0xff}},
		"no methods":              {[]byte{5, 0}, nil, []byte{5, 0xff}},
		"BIND":                    {none, socksTo(t, 2, origin), []byte{5, 0, 5, 7}},
		"UDP":                     {none, socksTo(t, 3, origin), []byte{5, 0, 5, 7}},
		"a command that is none":  {none, socksTo(t, 9, origin), []byte{5, 0, 5, 7}},
		"a kind that is none":     {none, []byte{5, 1, 0, 9, 1, 2, 3, 4, 0, 80}, []byte{5, 0, 5, 8}},
		"another version":         {none, []byte{4, 1, 0, 1, 127, 0, 0, 1, 0, 80}, []byte{5, 0}},
		"a rule":                  {none, socksTo(t, 1, "127.0.0.66:80"), []byte{5, 0, 5, 2}},
		"a rule, mapped":          {none, socksTo(t, 1, "[::ffff:127.0.0.66]:80"), []byte{5, 0, 5, 2}},
		"the default":             {none, socksTo(t, 1, "169.254.169.254:80"), []byte{5, 0, 5, 2}},
		"nobody listens":          {none, socksTo(t, 1, "127.0.0.1:1"), []byte{5, 0, 5, 5}},
		"port 0":                  {none, socksTo(t, 1, "127.0.0.1:0"), []byte{5, 0, 5, 1}},
		"a name without a letter": {none, socksToName("", "80"), []byte{5, 0, 5, 1}},
		"a name with NUL":         {none, socksToName("a\x00b", "80"), []byte{5, 0, 5, 1}},
		"a name of nobody":        {none, socksToName("nobody.invalid", "80"), []byte{5, 0, 5, 4}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := f.dial()
			_, _ = c.Write(append(bytes.Clone(test.greeting), test.request...))
			got := make([]byte, len(test.want))
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, test.want) {
				t.Errorf("got % x, %v, want % x", got, err, test.want)
			}
		})
	}
}

func TestSOCKSWantsTheRightPassword(t *testing.T) {
	f := start(t, func(f *fixture) {
		f.server.SetGate(&Gate{Anonymous: true, Clients: map[string]Token{"crawler": NewToken("secret")}, MaxConnections: 100})
	})
	origin := echo(t)
	login := func(name, password string) []byte {
		m := append([]byte{5, 2, 0, 2, 1, byte(len(name))}, name...)
		return append(append(m, byte(len(password))), password...)
	}
	tests := map[string]struct {
		greeting []byte
		want     []byte
		client   string
	}{
		"right":          {login("crawler", "secret"), []byte{5, 2, 1, 0, 5, 0}, "crawler"},
		"wrong":          {login("crawler", "Secret"), []byte{5, 2, 1, 1}, ""},
		"nobody":         {login("", ""), []byte{5, 2, 1, 1}, ""},
		"another":        {login("crawle", "rsecret"), []byte{5, 2, 1, 1}, ""},
		"another scheme": {[]byte{5, 1, 2, 2, 0, 0}, []byte{5, 2}, ""},
		"none wanted":    {[]byte{5, 1, 0}, []byte{5, 0, 5, 0}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := f.dial()
			_, _ = c.Write(append(bytes.Clone(test.greeting), socksTo(t, 1, origin)...))
			got := make([]byte, len(test.want))
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, test.want) {
				t.Errorf("got % x, %v, want % x", got, err, test.want)
			}
			if test.client != "" {
				if list := f.list(1); list[0].GetClient() != test.client {
					t.Errorf("client: got %v, want %s", list, test.client)
				}
			}
			c.Close()
			f.list(0)
		})
	}
}

func TestASOCKSClientThatSendsAheadLosesNoAnswer(t *testing.T) {
	f := start(t, func(f *fixture) {
		f.server.SetGate(&Gate{Anonymous: true, Clients: map[string]Token{"crawler": NewToken("secret")}, MaxConnections: 100})
	})
	for name, test := range map[string]struct{ request, want []byte }{
		"a rule":         {append([]byte{5, 1, 0}, socksTo(t, 1, "127.0.0.66:80")...), []byte{5, 0, 5, 2, 0, 1, 0, 0, 0, 0, 0, 0}},
		"no method":      {[]byte{5, 1, 1}, []byte{5, 0xff}},
		"wrong password": {append([]byte{5, 1, 2, 1, 7}, "crawler\x01x"...), []byte{5, 2, 1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			c := f.dial()
			if _, err := c.Write(append(test.request, make([]byte, 512<<10)...)); err != nil {
				t.Fatal(err)
			}
			_ = c.CloseWrite()
			if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, test.want) {
				t.Errorf("got % x, %v, want % x and the end", got, err, test.want)
			}
		})
	}
}
