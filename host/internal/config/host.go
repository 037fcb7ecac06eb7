package config

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"

	"github.com/hashicorp/hcl/v2"
)

// maxSocketPath is how long the path of a unix socket may be on this system,
// in bytes; the final zero takes one more (sun_path in unix(7)).
const maxSocketPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// Host says where the host listens and where its files are. After Load the
// paths are absolute.
type Host struct {
	Socket    string // gRPC and link
	HTTP      string // host:port; "" when there is no HTTP listener
	PluginDir string // where the plugin files are
	DataDir   string // what the host and its plugins keep
	GRPC      string // host:port of gRPC over TCP; "" when there is none
	TLS       TLS    // of GRPC
	AuditLog  string // file of the audit lines; "" for the host's log

	TrustedKeys []string // minisign's public keys; none: plugins need no signature
}

func defaultHost() Host {
	return Host{Socket: "run/gaia.sock", HTTP: "127.0.0.1:4242", PluginDir: "bin/plugins", DataDir: "data"}
}

func (h *Host) table() table {
	return table{
		name: "host",
		doc:  "Where the host listens and where its files are. At most one block. Relative paths start at the folder of the config file.",
		arguments: []argument{
			{name: "socket", doc: "Unix socket for gRPC and link, for the host's own user only. Its folder belongs to one host.", target: stringAt{&h.Socket, "path", checkPath}},
			{name: "http", doc: "Address of calls by JSON (`/v1`), Connect, gRPC and gRPC-Web, which need a token, and of `/metrics`, `/livez`, `/readyz` and `/debug/pprof`; `\"\"` turns it off.", target: stringAt{&h.HTTP, "host:port", checkAddress}},
			{name: "grpc", doc: "Address of gRPC over TCP, for clients with a certificate; it needs a `tls` block. Without it there is none.", target: stringAt{&h.GRPC, "host:port", checkAddress}},
			{name: "audit_log", doc: "File to which a line of JSON is added for each call of a client. Without it the lines are in the host's log. Opened anew with each reload.", target: stringAt{&h.AuditLog, "path", checkPath}},
			{name: "plugin_dir", doc: "Folder of the plugin files.", target: stringAt{&h.PluginDir, "path", checkPath}},
			{name: "trusted_keys", doc: "Public keys of minisign, `\"RW…\"` or `file(\"minisign.pub\")`. With them a plugin is not started unless FILE.minisig is a signature by one of them.", target: keysAt{&h.TrustedKeys}},
			{name: "data_dir", doc: "Folder of what the host and its plugins keep.", target: stringAt{&h.DataDir, "path", checkPath}},
		},
		blocks: []table{h.TLS.table()},
	}
}

// resolve makes the paths absolute and checks what can be checked only then.
func (h *Host) resolve(src *source, at ranges) hcl.Diagnostics {
	h.Socket, h.PluginDir, h.DataDir = src.resolve(h.Socket), src.resolve(h.PluginDir), src.resolve(h.DataDir)
	if h.AuditLog != "" {
		h.AuditLog = src.resolve(h.AuditLog)
	}
	if len(h.Socket) <= maxSocketPath {
		return nil
	}
	diag := fault(hcl.Range{}, "Socket path too long",
		fmt.Sprintf("The socket is %s, which has %d bytes; the system allows %d. Write a shorter absolute path, such as \"/run/gaia.sock\".",
			h.Socket, len(h.Socket), maxSocketPath))
	diag.Subject = nil
	for _, name := range []string{"host.socket", "host"} {
		if rng, ok := at[name]; ok {
			diag.Subject = &rng
			break
		}
	}
	return hcl.Diagnostics{diag}
}

func checkPath(path string) (summary, detail, hint string) {
	switch {
	case path == "":
		return "Empty path", "Write a path, or leave the argument out for its default.", ""
	case strings.ContainsRune(path, 0):
		return "Invalid path", "A path has no zero bytes.", ""
	}
	return "", "", ""
}

func checkAddress(address string) (summary, detail, hint string) {
	if address == "" {
		return "", "", ""
	}
	const form = `An address is host:port, such as "127.0.0.1:4242" or "[::1]:4242"; "0.0.0.0:4242" listens on all interfaces, "" turns it off.`
	host, port, err := net.SplitHostPort(address)
	switch {
	case err != nil && isDigits(address):
		return "Address without a host", form, "127.0.0.1:" + address
	case err != nil && !strings.ContainsAny(address, ":[]/"):
		return "Address without a port", form, address + ":4242"
	case err != nil:
		return "Invalid address", form, ""
	case host == "":
		return "Address without a host", form, "127.0.0.1:" + port
	case strings.ContainsAny(host, "/ "):
		return "Invalid address", form, ""
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "Invalid port", "A port is a number from 0 to 65535; 0 takes any free one. " + form, ""
	}
	return "", "", ""
}
