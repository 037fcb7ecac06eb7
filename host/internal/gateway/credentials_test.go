package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"testing/synctest"
	"time"
)

func TestACertificateExpiresWhileItsConnectionIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := &tls.Config{MinVersion: tls.VersionTLS12}
		info := &tcpInfo{chain: []*x509.Certificate{{NotAfter: time.Now().Add(time.Hour)}}}
		info.accepted.Store(config)
		if info.certificate(config) == nil {
			t.Error("it is refused within its time")
		}
		<-time.After(time.Hour + time.Second)
		if info.certificate(config) != nil {
			t.Error("it is accepted after its time")
		}
	})
}
