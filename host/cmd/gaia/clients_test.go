package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// debianPython is the one that apt-get install python3-grpcio is for.
const debianPython = "/usr/bin/python3"

// TestTheExampleClientsTalkToTheHost runs what a stranger copies from
// examples/clients, in each language, against the shipped host, whose file manager
// tells most of those to come back later who call many times at once.
func TestTheExampleClientsTalkToTheHost(t *testing.T) {
	const plugin = "plugin = \"gaia-file-manager\"\n"
	h := open(t, newHouse(t), strings.Replace(shippedConfig(t), plugin, plugin+`
  rate "calls" {
    limit = "500/s"
    burst = 50
    wait  = "10ms"
  }
`, 1))
	h.await(t, "file_manager", isReady)
	clients := filepath.Join(repository, "examples/clients")
	for _, tt := range []struct {
		name  string
		needs string // a command that fails where it cannot run
		run   []string
		want  string
	}{
		{
			"Go", "go version",
			[]string{"go", "run", clients + "/go", "-socket", h.table.Socket},
			"wrote 3145728 bytes, etag …\n1000 calls in …\nread 3145728 bytes, sha256 …\nrefused: …\n",
		},
		{
			"Python", debianPython + " -c 'import grpc'",
			[]string{debianPython, clients + "/python/example.py", h.table.Socket},
			"wrote 3145728 bytes, etag …\n200 calls in …\nread 3145728 bytes, sha256 …\nwrote 14 bytes in pieces\nrefused: …\n",
		},
		{
			"shell", "curl --json x --version && type jq",
			[]string{clients + "/shell/example.sh", filepath.Dir(h.table.Socket)},
			"{\"path\":\"clients-shell/a.txt\",\"size\":\"6\"}\n{\"path\":\"clients-shell/big.bin\",\"size\":\"3000000\"}\n" +
				"read it back, the same\nclients-shell/a.txt\nrefused: gaia: …(code 5)\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if output, err := exec.CommandContext(t.Context(), "bash", "-c", tt.needs).CombinedOutput(); err != nil {
				t.Skipf("%s: %v: %s", tt.needs, err, output)
			}
			cmd := exec.CommandContext(t.Context(), tt.run[0], tt.run[1:]...)
			cmd.Env = append(os.Environ(), "HOST="+h.table.HTTP)
			output, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %v\n%s", tt.run, err, output)
			}
			if line := missing(tt.want, string(output)); line != "" {
				t.Errorf("%s was not printed but:\n%s", line, output)
			}
		})
	}
	if h.metric(t, `gaia_rejected_total{policy="rate.calls",subsystem="file_manager"}`) == 0 {
		t.Error("nobody was told to come back later")
	}
}
