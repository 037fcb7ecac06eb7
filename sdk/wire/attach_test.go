package wire

import "testing"

func TestAHandshakeLineIsToldFromOthers(t *testing.T) {
	for line, want := range map[string]struct {
		socket string
		ok     bool
		fault  string
	}{
		"1|1|unix|/tmp/x|grpc":         {"/tmp/x", true, ""},
		"1|1|unix|/tmp/x|grpc|\n":      {"/tmp/x", true, ""},
		"1|1|unix|/tmp/x|grpc||false":  {"/tmp/x", true, ""},
		"1|2|unix|/tmp/x|grpc":         {"", true, "the plugin speaks version 2 of the contract, want 1"},
		"1|1|tcp|127.0.0.1:8|grpc":     {"", true, "the plugin listens on tcp 127.0.0.1:8, want a unix socket with an absolute path"},
		"1|1|unix|x|grpc":              {"", true, "the plugin listens on unix x, want a unix socket with an absolute path"},
		"1|1|unix|/tmp/x|netrpc":       {"", true, "the plugin does not speak gRPC"},
		"1|1|unix|/tmp/x":              {"", true, "the plugin does not speak gRPC"},
		"2|1|unix|/tmp/x|grpc":         {"", false, ""},
		"API server listening at: ::1": {"", false, ""},
		"":                             {"", false, ""},
	} {
		socket, ok, err := ParseHandshake(line)
		fault := ""
		if err != nil {
			fault = err.Error()
		}
		if socket != want.socket || ok != want.ok || fault != want.fault {
			t.Errorf("%q: got %q, %v, %q, want %+v", line, socket, ok, fault, want)
		}
	}
}
