// Package top shows what a host does at this moment: readings of its counters,
// what happened between two of them, and the screen that `gaia top` draws.
package top

import (
	"cmp"
	"slices"
	"strings"
	"time"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
)

// Reading is what a host did between two moments, and how it stands at the
// later one. Its JSON is what `gaia top --json` prints.
type Reading struct {
	Time           time.Time   `json:"time"`
	Version        string      `json:"version"`
	PID            int32       `json:"pid"`
	Socket         string      `json:"socket"`
	HTTP           string      `json:"http"`
	UptimeSeconds  float64     `json:"uptime_seconds"`
	Seconds        float64     `json:"seconds"` // between the moments; 0 for a first reading, which has no rates
	CallsPerSecond float64     `json:"calls_per_second"`
	Subsystems     []Subsystem `json:"subsystems"` // sorted by name; never nil
	Clients        []Client    `json:"clients"`    // the busiest first; never nil

	startedAt time.Time // of the host: which run of it this is
}

// Subsystem is one row.
type Subsystem struct {
	Name              string             `json:"name"`
	Plugin            string             `json:"plugin"`
	Version           string             `json:"version"`
	SHA256            string             `json:"sha256"`
	State             string             `json:"state"`
	Reason            string             `json:"reason"`
	PID               int32              `json:"pid"`
	Generation        uint64             `json:"generation"`
	Restarts          uint64             `json:"restarts"`
	ReadySeconds      float64            `json:"ready_seconds"` // 0 when it is not
	Confinement       string             `json:"confinement"`
	CallsPerSecond    float64            `json:"calls_per_second"`
	FailuresPerSecond float64            `json:"failures_per_second"`
	P95Seconds        *float64           `json:"p95_seconds"` // nil without a unary call in this time
	InFlight          uint32             `json:"in_flight"`
	Limit             uint32             `json:"limit"` // 0 for none
	Queued            uint32             `json:"queued"`
	RejectedPerSecond float64            `json:"rejected_per_second"`
	Rejected          map[string]float64 `json:"rejected"` // per second, by policy; those that rejected
	RetriesPerSecond  float64            `json:"retries_per_second"`
	Breaker           string             `json:"breaker"`      // "closed", "half-open", "open" or ""
	CPU               *float64           `json:"cpu"`          // cores that were busy; nil where that is not known
	MemoryBytes       *uint64            `json:"memory_bytes"` // nil likewise
	OpenFiles         *uint64            `json:"open_files"`   // nil likewise
	Methods           []Method           `json:"methods"`      // that were called in this time, the busiest first
}

// Client is what one client did.
type Client struct {
	Name              string  `json:"name"`
	CallsPerSecond    float64 `json:"calls_per_second"`
	RejectedPerSecond float64 `json:"rejected_per_second"` // for its own policies, before they came to a subsystem
	InFlight          uint32  `json:"in_flight"`
}

// Method is what happened to one method.
type Method struct {
	Name              string   `json:"name"` // "pkg.Service/Method"
	CallsPerSecond    float64  `json:"calls_per_second"`
	FailuresPerSecond float64  `json:"failures_per_second"`
	P95Seconds        *float64 `json:"p95_seconds"`
}

// Compare tells what happened between two readings of one host. Without a
// reading before, or with one of another run of the host, there are no rates.
func Compare(before, now *hostv1.StatsResponse, at time.Time) *Reading {
	host := now.GetStatus()
	r := &Reading{
		Time:          at,
		Version:       host.GetVersion(),
		PID:           host.GetPid(),
		Socket:        host.GetSocket(),
		HTTP:          host.GetHttp(),
		UptimeSeconds: now.GetUptime().AsDuration().Seconds(),
		Subsystems:    []Subsystem{},
		Clients:       []Client{},
		startedAt:     host.GetStartedAt().AsTime(),
	}
	if before.GetStatus().GetStartedAt().AsTime().Equal(r.startedAt) {
		r.Seconds = (now.GetUptime().AsDuration() - before.GetUptime().AsDuration()).Seconds()
	}
	for i, s := range now.GetSubsystems() {
		row := newSubsystem(host.GetSubsystems()[i], s, at)
		if earlier := statsOf(before, s.GetName()); r.Seconds > 0 && earlier != nil {
			row.rates(earlier, s, now.GetEdges(), r.Seconds)
		}
		r.CallsPerSecond += row.CallsPerSecond
		r.Subsystems = append(r.Subsystems, row)
	}
	r.compareClients(before, now)
	return r
}

func (r *Reading) compareClients(before, now *hostv1.StatsResponse) {
	for _, c := range now.GetClients() {
		client := Client{Name: c.GetName(), InFlight: c.GetInFlight()}
		i := slices.IndexFunc(before.GetClients(), func(b *hostv1.ClientStats) bool { return b.GetName() == c.GetName() })
		if i >= 0 && r.Seconds > 0 {
			client.CallsPerSecond = float64(grown(c.GetCalls(), before.GetClients()[i].GetCalls())) / r.Seconds
			client.RejectedPerSecond = float64(grown(c.GetRejected(), before.GetClients()[i].GetRejected())) / r.Seconds
		}
		r.Clients = append(r.Clients, client)
	}
	slices.SortStableFunc(r.Clients, func(a, b Client) int { return cmp.Compare(b.CallsPerSecond, a.CallsPerSecond) })
}

func statsOf(r *hostv1.StatsResponse, name string) *hostv1.SubsystemStats {
	for _, s := range r.GetSubsystems() {
		if s.GetName() == name {
			return s
		}
	}
	return nil
}

func newSubsystem(now *hostv1.Subsystem, s *hostv1.SubsystemStats, at time.Time) Subsystem {
	row := Subsystem{
		Name:        now.GetName(),
		Plugin:      now.GetPlugin(),
		Version:     now.GetVersion(),
		SHA256:      now.GetSha256(),
		State:       strings.ToLower(now.GetState().String()),
		Reason:      now.GetReason(),
		PID:         now.GetPid(),
		Generation:  now.GetGeneration(),
		Restarts:    now.GetRestarts(),
		Confinement: now.GetConfinement(),
		InFlight:    now.GetInFlight(),
		Limit:       s.GetLimit(),
		Queued:      now.GetQueued(),
		Rejected:    map[string]float64{},
		Methods:     []Method{},
	}
	if states := []string{"closed", "half-open", "open"}; s.GetBreaker() >= 0 && int(s.GetBreaker()) < len(states) {
		row.Breaker = states[s.GetBreaker()]
	}
	if since := now.GetReadySince(); since != nil {
		row.ReadySeconds = max(0, at.Sub(since.AsTime()).Seconds())
	}
	if s.GetMeasured() {
		row.MemoryBytes, row.OpenFiles = new(s.GetResidentBytes()), new(s.GetOpenFiles())
	}
	return row
}

// rates fills in what was counted within seconds.
func (row *Subsystem) rates(before, now *hostv1.SubsystemStats, edges edges, seconds float64) {
	perSecond := func(now, before uint64) float64 { return float64(grown(now, before)) / seconds }
	row.RetriesPerSecond = perSecond(now.GetRetries(), before.GetRetries())
	for policy, n := range now.GetRejected() {
		if rate := perSecond(n, before.GetRejected()[policy]); rate > 0 {
			row.Rejected[policy] = rate
			row.RejectedPerSecond += rate
		}
	}
	if now.GetMeasured() && before.GetMeasured() {
		row.CPU = new(max(0, now.GetCpuSeconds()-before.GetCpuSeconds()) / seconds)
	}
	var all []uint64
	for _, m := range now.GetMethods() {
		earlier := methodOf(before, m.GetName())
		calls := grown(m.GetCalls(), earlier.GetCalls())
		if calls == 0 {
			continue
		}
		buckets := bucketsSince(m.GetBuckets(), earlier.GetBuckets())
		all = bucketsSum(all, buckets)
		method := Method{
			Name:              m.GetName(),
			CallsPerSecond:    float64(calls) / seconds,
			FailuresPerSecond: perSecond(m.GetFailures(), earlier.GetFailures()),
			P95Seconds:        quantile(0.95, buckets, edges),
		}
		row.CallsPerSecond += method.CallsPerSecond
		row.FailuresPerSecond += method.FailuresPerSecond
		row.Methods = append(row.Methods, method)
	}
	row.P95Seconds = quantile(0.95, all, edges)
	slices.SortStableFunc(row.Methods, func(a, b Method) int { return cmp.Compare(b.CallsPerSecond, a.CallsPerSecond) })
}

func methodOf(s *hostv1.SubsystemStats, name string) *hostv1.MethodStats {
	for _, m := range s.GetMethods() {
		if m.GetName() == name {
			return m
		}
	}
	return nil
}

// grown is by how much a counter grew. One that fell began anew.
func grown(now, before uint64) uint64 {
	if now < before {
		return now
	}
	return now - before
}

// startedBefore reports whether r is of a run of the host before that of later.
func (r *Reading) startedBefore(later *hostv1.StatsResponse) bool {
	return !r.startedAt.Equal(later.GetStatus().GetStartedAt().AsTime())
}
