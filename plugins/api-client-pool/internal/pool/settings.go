package pool

import (
	"context"
	"errors"
	"math"
	"net/url"
	"time"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/cache"
	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/domain"
	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/profile"
	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/transport"
	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"github.com/gaia-go/gaia/sdk"
	"github.com/gaia-go/gaia/sdk/egress"
	"golang.org/x/net/http/httpguts"
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
	bodyTimeout        time.Duration // how long a body may stand still
	maxStreamBody      int64         // bytes, in each direction
	cache              *cache.Cache  // nil for none; whoever uses the settings closes it
	retries            int           // how often a request may be sent again
	budget             float64       // share of a domain's requests that may be repetitions
	baseDelay          time.Duration // of repetitions; doubled with each
	maxDelay           time.Duration
	maxPause           time.Duration // that a server can ask for; 0 is none
	coalesce           bool          // whether identical requests share an exchange
	domains            *domain.Domains
	egress             *egress.Policy
	resolver           egress.Resolver  // nil is the system's
	routes             transport.Routes // by profile
	profiles           profile.Profiles
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
		bodyTimeout:        30 * time.Second,
		maxStreamBody:      math.MaxInt64,
		http2:              true,
		coalesce:           true,
		retries:            2,
		budget:             0.1,
		baseDelay:          100 * time.Millisecond,
		maxDelay:           5 * time.Second,
		maxPause:           time.Minute,
	}
}

// settingsFrom reads config, in which zero and unset mean the default. The
// bounds of its fields are the host's to check. ctx is Configure's. The error
// joins one fault per field.
func settingsFrom(ctx context.Context, config *apiv1.Config) (settings, error) {
	s := defaultSettings()
	if agent := config.GetUserAgent(); agent != "" {
		s.userAgent = agent
	}
	var faults [5]error
	if !httpguts.ValidHeaderFieldValue(s.userAgent) {
		faults[0] = sdk.Invalid("user_agent", "%q has a character that a header value cannot have", s.userAgent)
	}
	s.egress, faults[1] = egress.Configure(ctx, "egress", config.GetEgress())
	s.profiles, faults[2] = profile.Parse(config.GetProfile(), headerFault)
	s.routes, faults[3] = transport.ParseRoutes(config, func(name string) func(*url.URL) bool { return s.profiles[name].Knows })
	s.domains, faults[4] = domain.Parse(config.GetDomain())
	if err := errors.Join(faults[:]...); err != nil {
		return settings{}, err
	}
	s.maxRequestBody = bytesOr(config.GetMaxRequestBody(), s.maxRequestBody)
	s.maxResponseBody = bytesOr(config.GetMaxResponseBody(), s.maxResponseBody)
	s.maxResponseHeaders = bytesOr(config.GetMaxResponseHeaders(), s.maxResponseHeaders)
	if n := config.GetConnectionsPerHost(); n > 0 {
		s.connectionsPerHost = int(n)
	}
	s.idleTimeout = durationOr(config.GetIdleTimeout(), s.idleTimeout)
	s.connectTimeout = durationOr(config.GetConnectTimeout(), s.connectTimeout)
	s.tlsTimeout = durationOr(config.GetTlsTimeout(), s.tlsTimeout)
	if config != nil && config.Coalesce != nil {
		s.coalesce = config.GetCoalesce()
	}
	s.bodyTimeout = durationOr(config.GetBodyTimeout(), s.bodyTimeout)
	s.maxStreamBody = bytesOr(config.GetMaxStreamBody(), s.maxStreamBody)
	s.readRetry(config.GetRetry())
	s.http2 = !config.GetDisableHttp2()
	return s, nil
}

// transport are the settings of the connections.
func (s settings) transport(m *metrics) transport.Options {
	return transport.Options{
		ConnectionsPerHost: s.domains.Most(s.connectionsPerHost), // the bulkhead holds each host's own bound
		IdleTimeout:        s.idleTimeout,
		ConnectTimeout:     s.connectTimeout,
		TLSTimeout:         s.tlsTimeout,
		MaxResponseHeaders: s.maxResponseHeaders + headerSlack,
		HTTP2:              s.http2,
		Dialer:             &egress.Dialer{Policy: s.egress, Resolver: s.resolver, Timeout: s.connectTimeout, Reported: m.denied},
		Counters:           transport.Counters{Opened: m.opened, Open: m.open, Received: m.received, Sent: m.sent},
	}
}

// timeout is that of a request, or else of its profile; 0 is none.
func (s *settings) timeout(message *apiv1.DoRequest) time.Duration {
	if message.GetTimeout() != nil {
		return message.GetTimeout().AsDuration()
	}
	if p := s.profiles[message.GetProfile()]; p != nil {
		return p.Timeout()
	}
	return 0
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
