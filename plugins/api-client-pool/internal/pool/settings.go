package pool

import (
	"crypto/x509"
	"time"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

// settings is a Config with its defaults filled in. Nobody writes to it once a
// client has it.
type settings struct {
	maxRequestBody     int64 // bytes
	maxResponseBody    int64 // bytes, after decompression
	maxResponseHeaders int64 // bytes
	connectionsPerHost int   // busy and idle
	idleTimeout        time.Duration
	connectTimeout     time.Duration // name resolution included
	tlsTimeout         time.Duration
	userAgent          string
	http2              bool
	retries            int           // how often a request may be sent again
	budget             float64       // share of a domain's requests that may be repetitions
	baseDelay          time.Duration // of repetitions; doubled with each
	maxDelay           time.Duration
	maxPause           time.Duration  // that a server can ask for; 0 is none
	roots              *x509.CertPool // what servers' certificates must lead to; nil means the system's
}

// defaultSettings are those that config.proto promises. 64 connections a host
// carry 1,000 callers as fast as 1,000 connections do, with a third less memory
// and a shorter tail.
func defaultSettings() settings {
	return settings{
		maxRequestBody:     8 << 20,
		maxResponseBody:    8 << 20,
		maxResponseHeaders: 1 << 20,
		connectionsPerHost: 64,
		idleTimeout:        90 * time.Second,
		connectTimeout:     10 * time.Second,
		tlsTimeout:         10 * time.Second,
		userAgent:          "gaia",
		http2:              true,
		retries:            2,
		budget:             0.1,
		baseDelay:          100 * time.Millisecond,
		maxDelay:           5 * time.Second,
		maxPause:           time.Minute,
	}
}

// settingsFrom reads config, in which zero and unset mean the default. The
// bounds of its fields are the host's to check.
func settingsFrom(config *apiv1.Config) settings {
	s := defaultSettings()
	s.maxRequestBody = bytesOr(config.GetMaxRequestBody(), s.maxRequestBody)
	s.maxResponseBody = bytesOr(config.GetMaxResponseBody(), s.maxResponseBody)
	s.maxResponseHeaders = bytesOr(config.GetMaxResponseHeaders(), s.maxResponseHeaders)
	if n := config.GetConnectionsPerHost(); n > 0 {
		s.connectionsPerHost = int(n)
	}
	s.idleTimeout = durationOr(config.GetIdleTimeout(), s.idleTimeout)
	s.connectTimeout = durationOr(config.GetConnectTimeout(), s.connectTimeout)
	s.tlsTimeout = durationOr(config.GetTlsTimeout(), s.tlsTimeout)
	if agent := config.GetUserAgent(); agent != "" {
		s.userAgent = agent
	}
	s.readRetry(config.GetRetry())
	s.http2 = !config.GetDisableHttp2()
	return s
}

func (s *settings) readRetry(retry *apiv1.Retry) {
	if retry == nil {
		return
	}
	if retry.Retries != nil {
		s.retries = int(retry.GetRetries())
	}
	if retry.Budget != nil {
		s.budget = retry.GetBudget()
	}
	s.baseDelay = durationOr(retry.GetBaseDelay(), s.baseDelay)
	s.maxDelay = durationOr(retry.GetMaxDelay(), s.maxDelay)
	if retry.MaxPause != nil {
		s.maxPause = retry.GetMaxPause().AsDuration() // 0s is none
	}
}

func bytesOr(n uint64, standard int64) int64 {
	if n == 0 {
		return standard
	}
	return int64(min(n, 1<<40)) // far above any bound of config.proto, and no overflow
}

func durationOr(d *durationpb.Duration, standard time.Duration) time.Duration {
	if d.AsDuration() <= 0 {
		return standard
	}
	return d.AsDuration()
}
