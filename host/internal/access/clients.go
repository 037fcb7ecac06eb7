package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gaia-go/gaia/host/internal/config"
	"github.com/gaia-go/gaia/host/internal/gate"
	"github.com/gaia-go/gaia/host/internal/telemetry"
)

// Clients are all who may call with credentials. Made by New; safe for
// concurrent use: a call sees one state of them.
type Clients struct {
	metrics *telemetry.Metrics
	audit   *Log
	current atomic.Pointer[[]*Client] // sorted by name; read without a lock

	mu sync.Mutex // serializes writers of current
}

// New returns a set with nobody in it. The log is not closed by it.
func New(metrics *telemetry.Metrics, audit *Log) *Clients {
	c := &Clients{metrics: metrics, audit: audit}
	c.current.Store(new([]*Client))
	metrics.Doors(Doors()...)
	return c
}

// Set puts the clients of a config in force. A client that was there before
// keeps the tokens of its rate where that is the same. Its calls under way end
// with Unauthenticated if it is gone or has other credentials, and with
// PermissionDenied if they are not allowed any more. host is the host's own
// token, of who may do everything; it may be not set.
func (c *Clients) Set(host config.Token, clients []config.Client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := *c.current.Load()
	next := make([]*Client, 0, len(clients)+1)
	if host.IsSet() {
		next = append(next, c.client(before, &config.Client{Name: config.HostClient, Token: host}))
		next[0].everything = true
	}
	for i := range clients {
		next = append(next, c.client(before, &clients[i]))
	}
	c.current.Store(&next)
	for _, old := range before {
		old.flights.recheck()
		if c.successor(old) == nil {
			old.metrics.Remove()
		}
	}
}

// successor is who is known by the name of a client now; nil: nobody.
func (c *Clients) successor(of *Client) *Client {
	for _, now := range *c.current.Load() {
		if now.flights == of.flights {
			return now
		}
	}
	return nil
}

// permit is the error if a call may not be made, or go on, as clients are now. of
// is who makes it, perhaps by a config that is not in force any more.
func (c *Clients) permit(of *Client, call *Call) error {
	now := c.successor(of)
	if now == nil || now.token != of.token || now.certificate != of.certificate {
		return status.Error(codes.Unauthenticated, "the credentials of this call were taken away by a reload of the config")
	}
	return now.permit(call)
}

// client makes one of the next clients, out of what is known of it.
func (c *Clients) client(before []*Client, cfg *config.Client) *Client {
	n := &Client{
		Name: cfg.Name, token: cfg.Token, certificate: cfg.Certificate, allow: cfg.Allow, rule: ruleOf(cfg),
		clients: c,
	}
	if i := slices.IndexFunc(before, func(b *Client) bool { return b.Name == cfg.Name }); i >= 0 {
		n.gate, n.inquiries, n.metrics, n.flights = before[i].gate, before[i].inquiries, before[i].metrics, before[i].flights
		n.gate.Update(gateConfig(cfg))
	} else {
		n.metrics = c.metrics.Client(cfg.Name)
		n.gate = gate.New(gateConfig(cfg), n.metrics)
		n.inquiries = gate.New(gate.Config{Limits: gate.Limits{Concurrency: maxInquiries}}, n.metrics)
		n.flights = &flights{all: make(map[*flight]struct{})}
	}
	n.metrics.Policies(policyAllow)
	n.metrics.Policies(n.gate.Policies()...)
	return n
}

// byToken finds whose a token is; nil: nobody's. It takes the same time whatever
// is given: all are compared, by their hashes.
func (c *Clients) byToken(token string) *Client {
	sum := sha256.Sum256([]byte(token))
	var found *Client
	for _, client := range *c.current.Load() {
		of := client.token.Sum()
		if subtle.ConstantTimeCompare(sum[:], of[:]) == 1 && client.token.IsSet() {
			found = client
		}
	}
	return found
}

// byCertificate finds whose a certificate is, which was verified. The error says
// why it is nobody's.
func (c *Clients) byCertificate(leaf *x509.Certificate) (*Client, error) {
	names := slices.Concat([]string{leaf.Subject.CommonName}, leaf.DNSNames)
	for _, uri := range leaf.URIs {
		names = append(names, uri.String())
	}
	var found *Client
	for _, client := range *c.current.Load() {
		if client.certificate == "" || !slices.Contains(names, client.certificate) {
			continue
		}
		if found != nil {
			return nil, status.Errorf(codes.Unauthenticated, "the certificate has the names of two clients, %q and %q; each needs its own", found.Name, client.Name)
		}
		found = client
	}
	if found == nil {
		return nil, status.Errorf(codes.Unauthenticated,
			"no client has a certificate with the common name %q or another name in this one; write certificate = %q in a client block and reload",
			leaf.Subject.CommonName, leaf.Subject.CommonName)
	}
	return found, nil
}
