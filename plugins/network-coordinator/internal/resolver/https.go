package resolver

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// https asks by POST, RFC 8484. net/http keeps one HTTP/2 connection for all
// questions.
type https struct {
	url       string
	client    http.Client
	transport *http.Transport
}

func newHTTPS(e endpoint, s settings) *https {
	h := &https{url: e.url, transport: &http.Transport{
		// Not by a proxy of the environment: it may be the one that asks here.
		TLSClientConfig:        &tls.Config{RootCAs: s.roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:      true,
		MaxConnsPerHost:        8, // of a server that has HTTP/1.1 only
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        6 * idleTimeout,
		MaxResponseHeaderBytes: 64 << 10,
	}}
	h.client = http.Client{
		Transport:     h.transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return h
}

func (h *https) close() { h.transport.CloseIdleConnections() }

func (h *https) exchange(ctx context.Context, query []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(query))
	if err != nil {
		return nil, err
	}
	const mediaType = "application/dns-message"
	request.Header.Set("Content-Type", mediaType)
	request.Header.Set("Accept", mediaType)
	response, err := h.client.Do(request)
	if err != nil {
		return nil, errors.Unwrap(err) // without the URL, which is said already
	}
	defer response.Body.Close() //nolint:errcheck // it was only read
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != mediaType {
		return nil, fmt.Errorf("HTTP status %d, content type %.80q", response.StatusCode, response.Header.Get("Content-Type"))
	}
	msg, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err != nil {
		return nil, err
	}
	return check(msg, query)
}
