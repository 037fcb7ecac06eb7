package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/hashicorp/hcl/v2"
)

// TLS says by which files the host and its callers know each other on
// Host.GRPC. After Load the paths are absolute.
type TLS struct {
	Certificate string // PEM, the host's own first
	Key         string // PEM
	ClientCA    string // PEM, one or more certificates
}

func (t *TLS) table() table {
	return table{
		name: "tls",
		doc:  "Certificates of `grpc`. The files, in PEM, are read again with each reload. Both sides prove who they are, with TLS 1.2 or later; `client_ca` is for callers only, the system's authorities are not asked.",
		arguments: []argument{
			{name: "certificate", required: true, doc: "File with the host's certificate and those between it and its authority.", target: stringAt{&t.Certificate, "path", checkPath}},
			{name: "key", required: true, doc: "File with the key of that certificate.", target: stringAt{&t.Key, "path", checkPath}},
			{name: "client_ca", required: true, doc: "File with the certificates of the authorities that sign those of clients.", target: stringAt{&t.ClientCA, "path", checkPath}},
		},
	}
}

// tls reads the files of the tls block; nil when there is none, or a fault in
// it.
func (d *decoder) tls(h *Host, at ranges) *tls.Config {
	block, written := at["host.tls"]
	switch grpc, ok := at["host.grpc"]; {
	case h.GRPC != "" && !written:
		d.report(fault(grpc, "Calls from the network without TLS",
			"Over TCP, gRPC takes only calls of clients that prove who they are by a certificate. Write a tls { … } block in the host block, or remove grpc."))
		return nil
	case written && h.GRPC == "" && !ok:
		d.report(warning(block, "Certificates without a door", `The tls block is for gRPC over TCP. Write grpc = "127.0.0.1:4243" as well, or remove it.`))
	}
	t := &h.TLS
	if !written || t.Certificate == "" || t.Key == "" || t.ClientCA == "" {
		return nil // what is missing was said
	}
	t.Certificate, t.Key, t.ClientCA = d.src.resolve(t.Certificate), d.src.resolve(t.Key), d.src.resolve(t.ClientCA)
	certificate, ok := d.certificate(t, at)
	pool, trusted := d.authorities(t.ClientCA, at["host.tls.client_ca"])
	if !ok || !trusted {
		return nil
	}
	return &tls.Config{
		Certificates: []tls.Certificate{certificate},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    pool,
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2"},
		// A session that is resumed would skip the check against the authorities
		// of a later reload.
		SessionTicketsDisabled: true,
	}
}

// certificate reads the host's own one.
func (d *decoder) certificate(t *TLS, at ranges) (pair tls.Certificate, ok bool) {
	text, ok := d.pem(t.Certificate, at["host.tls.certificate"])
	key, keyOK := d.pem(t.Key, at["host.tls.key"])
	if !ok || !keyOK {
		return pair, false
	}
	pair, err := tls.X509KeyPair(text, key)
	if err != nil {
		d.report(fault(at["host.tls.certificate"], "Unusable certificate",
			fmt.Sprintf("%s and the key in %s do not make a certificate: %v.", t.Certificate, t.Key, err)))
		return pair, false
	}
	if end := pair.Leaf.NotAfter; time.Now().After(end) {
		d.report(warning(at["host.tls.certificate"], "Certificate expired",
			fmt.Sprintf("The certificate in %s was valid until %s; clients will not accept it. Replace the file and reload.", t.Certificate, end.Format(time.RFC3339))))
	}
	return pair, true
}

// authorities reads who may sign certificates of clients.
func (d *decoder) authorities(path string, at hcl.Range) (pool *x509.CertPool, ok bool) {
	text, ok := d.pem(path, at)
	if !ok {
		return nil, false
	}
	pool = x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		d.report(fault(at, "Unusable certificate", fmt.Sprintf("There is no certificate in PEM in %s.", path)))
		return nil, false
	}
	return pool, true
}

func (d *decoder) pem(path string, at hcl.Range) (text []byte, ok bool) {
	text, err := readBounded(path)
	if err != nil {
		d.report(fault(at, "File not readable", fmt.Sprintf("%s cannot be read: %s. The path is relative to the folder of the config file.", path, reason(err))))
		return nil, false
	}
	return text, true
}
