package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// addresses of the stand-in, which the loopback device has in the world of a page.
// The first is of the internet and the second of a company, as rules see them.
const (
	publicAddress  = "93.184.215.14"
	privateAddress = "10.1.0.7"
)

// names of the stand-in, by address.
func names() map[string][]string {
	return map[string][]string{
		publicAddress:  {"example.com", "www.example.com", "api.example.com", "app.example", "api.github.com"},
		privateAddress: {"registry.corp.example", "intranet.corp.example"},
	}
}

// newInternet writes what docs-internet needs into dir: a certificate that takes
// the place of the system's, and that browsers believe by the shipped config.
func newInternet(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "stand-in"}, DNSNames: slices.Concat(names()[publicAddress], names()[privateAddress]),
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256(public)
	hosts := "127.0.0.1 localhost\n"
	for address, all := range names() {
		hosts += address + " " + strings.Join(all, " ") + "\n"
	}
	for name, content := range map[string]string{
		"internet.crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})),
		"internet.key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
		"hosts":        hosts,
		"resolv.conf":  "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
		"browser.hcl":  fmt.Sprintf("args = [\"--ignore-certificate-errors-spki-list=%s\"]\n", base64.StdEncoding.EncodeToString(hash[:])),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := apply(filepath.Join(dir, "shipped/config.hcl"), filepath.Join(dir, "browser.hcl"), []string{"browser_pool", "config"}); err != nil {
		t.Fatal(err)
	}
}

// environment of a reader's shell.
func environment() []string {
	own := slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(strings.ToLower(v), "=")
		return strings.HasSuffix(name, "_proxy") || strings.HasPrefix(name, "gaia_") || name == "ssl_cert_file" || name == "ssl_cert_dir"
	})
	return append(own, "GOPROXY=off", "TERM=dumb")
}

// ownWorld gives a command its own network, mounts and processes, which all end
// with it.
func ownWorld() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	return attr
}

// noWorld is the exit code where this machine lets nobody furnish a world.
const noWorld = 77

// runInternet is `docs-internet DIR COMMAND…`: it furnishes the world that it was
// started in and runs the command there.
func runInternet() {
	code, err := furnish(os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "docs-internet:", err)
		code = 1
	}
	if errors.Is(err, unix.EPERM) {
		code = noWorld
	}
	os.Exit(code)
}

func furnish(dir string, command []string) (int, error) {
	for _, m := range []struct {
		from, to, kind string
		flags          uintptr
	}{
		{"", "/", "", unix.MS_REC | unix.MS_PRIVATE},
		{"proc", "/proc", "proc", 0},
		{dir + "/hosts", "/etc/hosts", "", unix.MS_BIND},
		{dir + "/resolv.conf", "/etc/resolv.conf", "", unix.MS_BIND},
	} {
		if err := unix.Mount(m.from, m.to, m.kind, m.flags, ""); err != nil {
			return 0, fmt.Errorf("mount %s: %w", m.to, err)
		}
	}
	for _, trusted := range []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"} {
		if err := unix.Mount(dir+"/internet.crt", trusted, "", unix.MS_BIND, ""); err != nil && !errors.Is(err, unix.ENOENT) {
			return 0, fmt.Errorf("mount %s: %w", trusted, err)
		}
	}
	for device, address := range map[string]string{"lo": "127.0.0.1", "lo:1": publicAddress, "lo:2": privateAddress} {
		if err := addAddress(device, address); err != nil {
			return 0, fmt.Errorf("%s: %w", device, err)
		}
	}
	if err := serveInternet(dir); err != nil {
		return 0, err
	}
	cmd := exec.Command(command[0], command[1:]...) //nolint:noctx // all processes end with this one, which the test ends
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err := cmd.Run()
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		return ended.ExitCode(), nil
	}
	return 0, err
}

// addAddress gives a device an address, and turns it on.
func addAddress(device, address string) error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	request, err := unix.NewIfreq(device)
	if err != nil {
		return err
	}
	if err := request.SetInet4Addr(net.ParseIP(address).To4()); err != nil {
		return err
	}
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFADDR, request); err != nil {
		return fmt.Errorf("set address: %w", err)
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("turn on: %w", err)
	}
	return nil
}

// serveInternet serves all names by http and https until the process ends.
func serveInternet(dir string) error {
	pair, err := tls.LoadX509KeyPair(dir+"/internet.crt", dir+"/internet.key")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: internet(), ReadHeaderTimeout: patience}
	for address := range names() {
		for port, secure := range map[string]bool{"80": false, "443": true} {
			l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", net.JoinHostPort(address, port))
			if err != nil {
				return err
			}
			if secure {
				l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}})
			}
			go func() { _ = server.Serve(l) }() // it ends with the process
		}
	}
	return nil
}

// internet is what the docs visit.
func internet() http.Handler {
	mux := http.NewServeMux()
	page := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = fmt.Fprintf(w, "<!doctype html><title>Example Domain</title>%s\n", body)
		}
	}
	mux.HandleFunc("/", page("<h1>Example Domain</h1><p>This domain is for use in documents."))
	mux.HandleFunc("/login", page(`<form action="/in"><input id="user"><input id="password" type="password"><button>Sign in</button></form>`))
	mux.HandleFunc("/in", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "login", Value: "ada", Path: "/", MaxAge: 3600, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
		http.Redirect(w, r, "/orders", http.StatusFound)
	})
	mux.HandleFunc("/orders", func(w http.ResponseWriter, r *http.Request) {
		if _, err := r.Cookie("login"); err != nil {
			http.Redirect(w, r, "/login", http.StatusFound)
			return
		}
		page("<h1>Orders</h1><a href='/orders.csv' download>Export</a>")(w, r)
	})
	mux.HandleFunc("/orders.csv", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Disposition", `attachment; filename="orders.csv"`)
		_, _ = w.Write([]byte("order,amount\n17,3\n"))
	})
	return mux
}
