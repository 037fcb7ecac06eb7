package cache

import (
	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count what caches do, one after the other. Nil counts nothing.
type Metrics struct {
	answers map[apiv1.CacheStatus]prometheus.Counter
	memory  prometheus.Gauge
	disk    prometheus.Gauge
}

// NewMetrics registers the metrics.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	answers := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gaia_api_cache_requests_total",
		Help: "Requests that met the cache, each redirect one more, by what it did: hit, stale, revalidated (the server said 304) or miss.",
	}, []string{"result"})
	bytes := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gaia_api_cache_bytes",
		Help: "Bytes of responses that are kept, by place: memory or disk.",
	}, []string{"place"})
	registry.MustRegister(answers, bytes)
	return &Metrics{
		answers: map[apiv1.CacheStatus]prometheus.Counter{
			apiv1.CacheStatus_HIT:         answers.WithLabelValues("hit"),
			apiv1.CacheStatus_STALE:       answers.WithLabelValues("stale"),
			apiv1.CacheStatus_REVALIDATED: answers.WithLabelValues("revalidated"),
			apiv1.CacheStatus_MISS:        answers.WithLabelValues("miss"),
		},
		memory: bytes.WithLabelValues("memory"),
		disk:   bytes.WithLabelValues("disk"),
	}
}

func (m *Metrics) count(status apiv1.CacheStatus) {
	if m == nil {
		return
	}
	if counter := m.answers[status]; counter != nil {
		counter.Inc()
	}
}

// measure notes how much c holds.
func (m *Metrics) measure(c *Cache) {
	if m == nil {
		return
	}
	m.memory.Set(float64(c.memory.size()))
	if c.disk != nil {
		m.disk.Set(float64(c.disk.size()))
	}
}
