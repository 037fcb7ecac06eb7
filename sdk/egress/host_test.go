package egress

import (
	"bufio"
	"math/rand/v2"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/idna"
)

func TestTwoSpellingsOfAHostAreOne(t *testing.T) {
	for want, spellings := range map[string][]string{
		"example.com":                  {"EXAMPLE.com", "example.com.", "ｅｘａｍｐｌｅ。ｃｏｍ", "exa\u00admple.com", "example．com", "example｡com."},
		"xn--bcher-kva.example":        {"bücher.example", "BÜCHER.Example.", "bu\u0308cher.example", "XN--BCHER-KVA.example", "ｘn--bcher-kva.example"},
		"xn--strae-oqa.de":             {"straße.de", "xn--strae-oqa.de"},
		"xn--wgv71a119e.jp":            {"日本語.jp", "日本語。jp"},
		"xn--i-7iq.ws":                 {"i❤.ws"},
		"r3---sn-apo3qvuoxuxbt-j5pe.x": {"R3---sn-apo3qvuoxuxbt-j5pe.x"},
		"_dmarc.my_host":               {"_DMARC.my_host."},
		"localhost":                    {"LOCALHOST", "localhost."},
		"1e3":                          {"1E3"},
		"0xg.com":                      {"0XG.com"},
		"127.0.0.1.example":            {"127.0.0.1.EXAMPLE"},
		"10.0.0.7":                     {"10.7", "10.0.7", "167772167", "0xa000007", "012.0.0.7", "0x0a.0.0.07", "10.0.0.7.", "１０．０。０.７", "::ffff:10.0.0.7", "[::FFFF:a00:7]", "0:0:0:0:0:ffff:a00:7"},
		"2001:db8::1":                  {"[2001:DB8::1]", "2001:0db8:0:0:0:0:0:1", "[2001:db8:0::0:0.0.0.1]"},
		"::7f00:1":                     {"::127.0.0.1", "[0:0:0:0:0:0:127.0.0.1]"},
	} {
		for _, spelling := range append(spellings, want) {
			got, err := ParseHost(spelling)
			if err != nil || got.String() != want {
				t.Errorf("%q is %q, %v; want %q", spelling, got, err, want)
			}
		}
	}
}

func TestWhatIsNoHostSaysWhy(t *testing.T) {
	for text, why := range map[string]string{
		"":                               "it is empty",
		".":                              "it is empty",
		"..":                             "part between dots is empty",
		"a..b":                           "part between dots is empty",
		".a":                             "part between dots is empty",
		"a..":                            "part between dots is empty",
		"user@example.com":               "user and password",
		"ex%61mple.com":                  "percent-encoding",
		"127.0.0.1%00.example.com":       "percent-encoding",
		"fe80::1%eth0":                   "zone",
		"[fe80::1%25eth0]":               "zone",
		"http://example.com":             "scheme",
		"example.com/x":                  "scheme or a path",
		`example.com\x`:                  "scheme or a path",
		"example.com?x":                  "scheme or a path",
		"example.com:443":                "without a port",
		"127.0.0.1:80":                   "without a port",
		"[::1]:80":                       "no IPv6 address",
		"[127.0.0.1]":                    "no IPv6 address",
		"[::1":                           "no IPv6 address",
		"::1]":                           "no IPv6 address",
		"[[::1]]":                        "no IPv6 address",
		"::1.":                           "no IPv6 address",
		"::ffff:0127.0.0.1":              "no IPv6 address",
		":":                              "scheme",
		"：：1":                            "':' is in no name",
		"*.example.com":                  "pattern",
		"exa mple.com":                   "' ' is in no name",
		" 127.0.0.1":                     "' ' is in no name",
		"127.0.0.1\x00.example.com":      `'\x00' is in no name`,
		"127.0.0.1\n":                    `'\n' is in no name`,
		"a\u2028b.com":                   "no internationalized name",
		"256.1.1.1":                      `"256" is no number from 0 to 255`,
		"1.2.3.4.5":                      "5 parts instead of 4",
		"1.2.3.256":                      "0 to 255",
		"1.2.65536":                      "0 to 65535",
		"1.16777216":                     "0 to 16777215",
		"4294967296":                     "0 to 4294967295",
		"99999999999999999999999":        "0 to 4294967295",
		"0x100000000":                    "0 to 4294967295",
		"08.0.0.1":                       `"08" is no number`,
		"1.2.3.08":                       `"08" is no number`,
		"example.1":                      `"example" is no number`,
		"example.0x1f":                   `"example" is no number`,
		"1..1":                           "part between dots is empty",
		"xn--a.com":                      "no internationalized name",
		"xn--\u00fc.com":                 "no internationalized name",
		"\xff.com":                       "not UTF-8",
		strings.Repeat("a", 64) + ".com": "longer than 63 bytes",
		strings.Repeat("a.", 127) + "a":  "255 bytes is too long, 253",
		strings.Repeat("ü", 600) + ".x":  "too long",
	} {
		if h, err := ParseHost(text); err == nil || !strings.Contains(err.Error(), why) || h != (Host{}) {
			t.Errorf("%q is %+v, %v; want an error with %q", text, h, err, why)
		}
	}
}

func TestRandomSpellingsOfAHostAreOne(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 5_000 {
		addr := netip.AddrFrom4([4]byte{byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32())})
		want := Host{Addr: addr}
		text := spellIPv4(random, addr)
		if random.IntN(2) == 0 {
			name := "ab" + strconv.Itoa(random.IntN(1000)) + "-é.Example"
			ascii, err := idna.Lookup.ToASCII(name)
			if err != nil {
				t.Fatal(err)
			}
			want, text = Host{Name: ascii}, []string{name, ascii}[random.IntN(2)]
		}
		text = disguise(random, text)
		if got, err := ParseHost(text); err != nil || got != want {
			t.Fatalf("%q is %+v, %v; want %+v", text, got, err, want)
		}
	}
}

// spellIPv4 writes an address as inet_aton reads it.
func spellIPv4(random *rand.Rand, addr netip.Addr) string {
	four := addr.As4()
	n := random.IntN(4) // parts of one byte
	var rest uint64
	var parts []string
	for i, b := range four {
		if i < n {
			parts = append(parts, spellNumber(random, uint64(b)))
		} else {
			rest = rest<<8 | uint64(b)
		}
	}
	return strings.Join(append(parts, spellNumber(random, rest)), ".")
}

func spellNumber(random *rand.Rand, n uint64) string {
	zeros := strings.Repeat("0", random.IntN(3))
	return []string{
		strconv.FormatUint(n, 10),
		"0" + zeros + strconv.FormatUint(n, 8),
		"0x" + zeros + strconv.FormatUint(n, 16),
	}[random.IntN(3)]
}

// disguise changes case, width and dots, none of which matter.
func disguise(random *rand.Rand, text string) string {
	var b strings.Builder
	for _, r := range text {
		switch random.IntN(6) {
		case 0:
			b.WriteString(strings.ToUpper(string(r)))
		case 1:
			switch {
			case r == '.':
				r = []rune{'。', '．', '｡'}[random.IntN(3)]
			case r > ' ' && r < 0x7f:
				r += '！' - '!'
			}
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String() + []string{"", "."}[random.IntN(2)]
}

// FuzzParseHost looks for texts that others take for an address and we for a
// name, and for hosts with two spellings.
func FuzzParseHost(f *testing.F) {
	for _, d := range disguised {
		f.Add(d.text)
	}
	for _, text := range []string{"", "a.b", "xn--bcher-kva", "bücher。example.", "0x", "1.", "::", "[::1%eth0]", "ß", "xn--", "xn--zca.xn--zca"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h, err := ParseHost(text)
		for _, read := range []func(string) (netip.Addr, bool){readNetip, readInetAton} {
			if addr, ok := read(text); ok && err == nil && h.Addr != addr {
				t.Fatalf("%q is %+v, others read %v", text, h, addr)
			}
		}
		if err != nil {
			return
		}
		again, err := ParseHost(h.String())
		if err != nil || again != h {
			t.Fatalf("%q is %+v, its spelling %q is %+v, %v", text, h, h, again, err)
		}
		if (h.Name == "") != h.Addr.IsValid() || h.Addr.Is4In6() || h.Addr.Zone() != "" {
			t.Fatalf("%q is %+v", text, h)
		}
		if addr, err := netip.ParseAddr(h.Name); err == nil {
			t.Fatalf("%q is the name %q, which is the address %v", text, h.Name, addr)
		}
	})
}

// readNetip reads an address as package net does.
func readNetip(text string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(text)
	return addr.Unmap(), err == nil
}

// readInetAton reads an address as BSD's manual page of inet_aton has it,
// written in another way than ParseHost.
func readInetAton(text string) (netip.Addr, bool) {
	parts := strings.Split(text, ".")
	if len(parts) > 4 || strings.Contains(text, "_") {
		return netip.Addr{}, false
	}
	var four [4]byte
	for i, part := range parts {
		if part == "" || part[0] < '0' || part[0] > '9' || len(part) > 1 && strings.ContainsAny(part[1:2], "oObB") {
			return netip.Addr{}, false
		}
		last := i == len(parts)-1
		bits := 8
		if last {
			bits = 32 - 8*i
		}
		n, err := strconv.ParseUint(part, 0, bits)
		if err != nil {
			return netip.Addr{}, false
		}
		four[i] = byte(n)
		for j := 3; last && j >= i; j-- {
			four[j] = byte(n)
			n >>= 8
		}
	}
	return netip.AddrFrom4(four), true
}

func TestTheCLibraryReadsTheSameAddresses(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3, whose inet_aton is the C library's")
	}
	var texts []string
	random := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		addr := netip.AddrFrom4([4]byte{byte(random.Uint32()), 0, byte(random.Uint32()), byte(random.Uint32())})
		texts = append(texts, spellIPv4(random, addr))
	}
	for _, d := range disguised {
		texts = append(texts, d.text)
	}
	cmd := exec.CommandContext(t.Context(), python, "-c", `
import socket, sys
for line in sys.stdin:
    try: print(socket.inet_ntoa(socket.inet_aton(line.rstrip("\n"))))
    except (OSError, UnicodeError): print("-")`)
	cmd.Stdin = strings.NewReader(strings.Join(texts, "\n") + "\n")
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("python3 does not run: %v", err)
	}
	lines := bufio.NewScanner(strings.NewReader(string(out)))
	read := 0
	for _, text := range texts {
		lines.Scan()
		want, err := netip.ParseAddr(lines.Text())
		if err != nil {
			continue
		}
		read++
		if h, err := ParseHost(text); err == nil && h.Addr != want {
			t.Errorf("%q is %+v, the C library reads %v", text, h, want)
		}
	}
	if read < 2000 {
		t.Errorf("the C library has read %d of %d", read, len(texts))
	}
}
