package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	"github.com/google/go-cmp/cmp"
)

// auditLine is a line of the audit log, but for what differs from run to run.
type auditLine struct {
	Client, Door, Subsystem, Method, Key, Code string
}

// auditLines waits for n lines in a file and returns them.
func (h *house) auditLines(t *testing.T, name string, n int) (lines []auditLine) {
	t.Helper()
	h.status(t, "echo") // the operator's calls are not written down
	await(t, fmt.Sprintf("%d lines in %s", n, name), func() bool {
		lines = nil
		text, _ := os.ReadFile(filepath.Join(h.dir, name))
		for line := range strings.Lines(string(text)) {
			var one struct {
				auditLine

				Time, Peer string
				Seconds    *float64
			}
			if err := json.Unmarshal([]byte(line), &one); err != nil || one.Time == "" || one.Peer == "" || one.Seconds == nil {
				t.Fatalf("line %q: %v", line, err)
			}
			lines = append(lines, one.auditLine)
		}
		return len(lines) >= n
	})
	return lines
}

func TestEachCallOfAClientIsWrittenDownOnce(t *testing.T) {
	h, ca := openAccess(t, clientBlock("free", "  allow = [\"echo.*\"]\n")+clientBlock("shut", "  allow = [\"echo.Stream\"]\n"))
	const method, other = "gaia.api.v1.APIClientPool/Do", "v1/echo/Do"
	var want []auditLine
	for _, w := range h.ways(t, ca) {
		for _, c := range []struct{ token, url string }{
			{tokenOf("free"), "https://example.com/secret-path?secret=1"}, {tokenOf("free"), "test:error"}, {tokenOf("shut"), "test:"},
			{"secret-token-of-nobody", "test:"},
		} {
			_ = w.do(t.Context(), c.token, &apiv1.DoRequest{Url: c.url})
		}
		stranger := auditLine{Door: w.door, Method: method, Code: "Unauthenticated"}
		if w.door == "http" {
			stranger.Method = other
		}
		want = append(want,
			auditLine{"free", w.door, "echo", method, "example.com", "OK"},
			auditLine{"free", w.door, "echo", method, "", "DataLoss"},
			auditLine{"shut", w.door, "echo", method, "", "PermissionDenied"},
			stranger)
	}
	if diff := cmp.Diff(want, h.auditLines(t, "audit.log", len(want))); diff != "" {
		t.Errorf("the audit log differs (-want +got):\n%s", diff)
	}
	if info, err := os.Stat(filepath.Join(h.dir, "audit.log")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v: %v", info.Mode(), err)
	}
	// As logrotate does it.
	if err := os.Rename(filepath.Join(h.dir, "audit.log"), filepath.Join(h.dir, "audit.log.1")); err != nil {
		t.Fatal(err)
	}
	h.configure(t, accessHost+clientBlock("free", "  allow = [\"echo.*\"]\n"))
	_ = h.byHTTP(t.Context(), tokenOf("free"), &apiv1.DoRequest{Url: "test:"})
	h.auditLines(t, "audit.log", 1)
	h.auditLines(t, "audit.log.1", len(want))
	h.configure(t, strings.Replace(accessHost, "  audit_log = \"audit.log\"\n", "", 1)+clientBlock("free", "  allow = [\"echo.*\"]\n"))
	_ = h.byHTTP(t.Context(), tokenOf("free"), &apiv1.DoRequest{Url: "test:"})
	await(t, "the line is in the host's log", func() bool { return strings.Contains(h.stderr.String(), `"@module":"audit"`) })
}

func TestTokensAreNowhereToBeRead(t *testing.T) {
	h, ca := openAccess(t, clientBlock("free", "  allow = [\"echo.*\"]\n"))
	secrets := []string{tokenOf("free"), h.hostToken(t), "secret-token-of-nobody", "another-secret-0123456789"}
	var seen strings.Builder
	for _, w := range h.ways(t, ca) {
		for _, token := range secrets {
			fmt.Fprintln(&seen, w.do(t.Context(), token, &apiv1.DoRequest{Url: "test:error"}))
		}
	}
	for _, faulty := range []string{
		"client \"a\" {\n  token = \"another-secret-0123456789\n}\n",
		"client \"a\" {\n  token = \"another-secret-0123456789\" \"\n}\n",
		"client \"a\" { token = \"another-secret-0123456789\" allow = [] }\n",
		"client \"a\" {\n  tokn = \"another-secret-0123456789\"\n}\n",
		"client \"a\" {\n  token = \"another secret-0123456789\"\n}\n",
		"client \"a\" {\n  token = another-secret-0123456789\n}\n",
		"client \"a\" {\n  token = [\"another-secret-0123456789\"]\n}\n",
		"client \"a\" {\n  token = \"another-secret-0123456789\"\n  token = \"another-secret-0123456789\"\n}\n",
		"client \"a\" {\n  token = \"another-secret-0123456789\"\n  token_file = \"x\"\n}\n",
		"client \"a\" {\n  token = upper(\"another-secret-0123456789\")\n}\n",
		clientBlock("a", "")[:30] + "\n",
		clientBlock("free", "") + strings.Replace(clientBlock("free", ""), `"free"`, `"same"`, 1),
	} {
		r := h.configure(t, accessHost+faulty)
		if r.GetApplied() {
			t.Errorf("%q was applied", faulty)
		}
		fmt.Fprintln(&seen, r)
	}
	h.configure(t, accessHost+clientBlock("free", "  allow = [\"echo.*\"]\n"))
	response, err := h.host.Status(t.Context(), &hostv1.StatusRequest{})
	events, err2 := h.host.Events(t.Context(), &hostv1.EventsRequest{})
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	for e, err := events.Recv(); err == nil; e, err = events.Recv() {
		fmt.Fprintln(&seen, e)
	}
	audit, err := os.ReadFile(filepath.Join(h.dir, "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(&seen, response, h.get(t, "/metrics"), h.stderr.String(), string(audit))
	for _, secret := range append(secrets, "secret-0123456789", tokenOf("free")[:12]) {
		if i := strings.Index(seen.String(), secret); i >= 0 {
			t.Errorf("there is %q in …%s…", secret, seen.String()[max(0, i-200):min(seen.Len(), i+100)])
		}
	}
}

// await waits until something is so that nothing announces.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(patience)
	defer late.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-late.C:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
