package transport

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"github.com/gaia-go/gaia/sdk"
)

// sessions is how many TLS sessions an identity remembers, some KiB each.
const sessions = 256

// Identity is what is asked of servers in a TLS handshake, and what is shown to
// them.
type Identity struct {
	known     *tls.Config // for servers that the client's certificate is meant for
	strangers *tls.Config // for all others; the same where there is no certificate
}

// config returns the configuration, always the same one, for a server.
func (i *Identity) config(known bool) *tls.Config {
	if known {
		return i.known
	}
	return i.strangers
}

// Certificate reports whether there is a client's certificate.
func (i *Identity) Certificate() bool { return i.known != i.strangers }

// ParseIdentity reads a tls{} block, at path in the config; nil is all defaults.
func ParseIdentity(config *apiv1.TLS, path string) (*Identity, error) {
	base := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ClientSessionCache: tls.NewLRUClientSessionCache(sessions), // a server that was met before skips half of the handshake
	}
	if config.GetMinVersion() == apiv1.TLS_TLS13 {
		base.MinVersion = tls.VersionTLS13
	}
	var faults []error
	if ca := config.GetCa(); ca != "" {
		base.RootCAs = x509.NewCertPool()
		if !base.RootCAs.AppendCertsFromPEM([]byte(ca)) {
			faults = append(faults, sdk.Invalid(path+".ca", `no certificate in PEM in it, which begins with "-----BEGIN CERTIFICATE-----"; file("ca.pem") reads one from a file`))
		}
	}
	id := &Identity{known: base, strangers: base}
	if pair, fault := certificate(config, path); fault != nil {
		faults = append(faults, fault)
	} else if pair != nil {
		id.known = base.Clone()
		id.known.Certificates = []tls.Certificate{*pair}
		id.known.ClientSessionCache = tls.NewLRUClientSessionCache(sessions)
	}
	return id, errors.Join(faults...)
}

// certificate is nil where the client shows none. No fault repeats the key.
func certificate(config *apiv1.TLS, path string) (*tls.Certificate, error) {
	chain, key := []byte(config.GetCertificate()), []byte(config.GetKey())
	switch {
	case len(chain) == 0 && len(key) == 0:
		return nil, nil //nolint:nilnil // most clients show none
	case len(chain) == 0:
		return nil, sdk.Invalid(path+".certificate", "missing: there is a key, and it needs its certificate")
	case len(key) == 0:
		return nil, sdk.Invalid(path+".key", "missing: there is a certificate, and it needs its key")
	case !bytes.Contains(chain, []byte("-----BEGIN")):
		return nil, sdk.Invalid(path+".certificate", `not PEM, which begins with "-----BEGIN CERTIFICATE-----"; file("client.pem") reads one from a file`)
	case !bytes.Contains(key, []byte("-----BEGIN")):
		return nil, sdk.Invalid(path+".key", `not PEM, which begins with "-----BEGIN PRIVATE KEY-----"; file("client.key") reads one from a file`)
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, sdk.Invalid(path+".certificate", "certificate and key are no pair: %v", err)
	}
	return &pair, nil
}
