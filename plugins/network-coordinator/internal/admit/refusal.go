package admit

import (
	"fmt"
	"time"
)

// Limit is which limit refuses, by its field of the config. It has no client's
// name in it and so is fit for a metric.
type Limit string

// The limits.
const (
	MaxConnections       Limit = "max_connections"
	ConnectionsPerHost   Limit = "connections_per_host"
	ConnectionsPerClient Limit = "connections_per_client"
	ClientConnections    Limit = "client.connections"
	NewConnections       Limit = "new_connections"
	ClientNewConnections Limit = "client.new_connections"
)

// Refusal is the error of a connection that is one too many.
type Refusal struct {
	Limit  Limit
	Client string // whose connection it is
	Host   string // where it would lead

	Open, Most int // connections that are open and that may be; 0 for a rate

	Rate       Rate          // zero for a number of connections
	RetryAfter time.Duration // when the rate admits one again; 0 for a number, as others have to leave first
}

// Error has what is counted, the value and the field.
func (r *Refusal) Error() string {
	whose, field := "", string(r.Limit)
	switch r.Limit {
	case ConnectionsPerHost:
		whose = fmt.Sprintf(" to %q", r.Host)
	case ConnectionsPerClient:
		whose = fmt.Sprintf(" of client %q", r.Client)
	case ClientConnections, ClientNewConnections:
		whose = fmt.Sprintf(" of client %q", r.Client)
		field = fmt.Sprintf("client[%q]%s", r.Client, r.Limit[len("client"):])
	case MaxConnections, NewConnections:
	}
	if r.Most > 0 {
		return fmt.Sprintf("%d connections%s are open, limit %d (%s)", r.Open, whose, r.Most, field)
	}
	return fmt.Sprintf("new connections%s exceed %d per %v (%s); the next one in %v",
		whose, r.Rate.Events, r.Rate.Per, field, r.RetryAfter)
}
