package telemetry

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// collectTimeout bounds what one slow plugin can add to a scrape. Prometheus
// gives up on the whole page after 10 s by default.
const collectTimeout = time.Second

// Source is where one subsystem's own metrics come from.
type Source struct {
	Subsystem string
	// Collect asks the plugin for its metrics: an exposition in the Prometheus
	// text format 0.0.4 or in delimited protobuf, as contentType says. It obeys
	// ctx. An empty body is no metrics.
	Collect func(ctx context.Context) (contentType string, body []byte, err error)
}

// Merger puts the metrics of the plugins beside those of the host. Made by
// NewMerger; safe for concurrent use.
type Merger struct {
	host    *Metrics
	sources func() []Source
	logger  hclog.Logger

	mu   sync.Mutex
	said map[string]string // the last complaint by subject, so that each is logged once
}

// NewMerger returns a merger of the host's metrics with what the sources say
// at each scrape. sources must be safe for concurrent use; nil means none.
func NewMerger(host *Metrics, sources func() []Source, logger hclog.Logger) *Merger {
	if sources == nil {
		sources = func() []Source { return nil }
	}
	return &Merger{host: host, sources: sources, logger: logger, said: make(map[string]string)}
}

// Gatherer returns a gatherer for one scrape, which ends when ctx does.
//
// What a plugin says cannot spoil the page. Its series get a `subsystem` label
// (one of their own becomes exported_subsystem), lose timestamps, exemplars
// and native buckets, and are bounded in number and in the time they may take.
// Families that the host owns, or that an alphabetically earlier subsystem has
// with another type, are left out.
func (m *Merger) Gatherer(ctx context.Context) prometheus.Gatherer {
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return m.gather(ctx) })
}

func (m *Merger) gather(ctx context.Context) ([]*dto.MetricFamily, error) {
	// The host comes last, so that its page counts the faults of this scrape.
	plugins := m.collect(ctx)
	host, err := m.host.registry.Gather()
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	all := newPage(host, m.host.own)
	for _, p := range plugins {
		for _, f := range p.families {
			fault := all.add(f)
			m.complain(p.subsystem+" "+f.GetName(), fault)
			if fault != nil {
				m.host.scrapeErrors.WithLabelValues(p.subsystem).Inc()
			}
		}
	}
	return slices.SortedFunc(maps.Values(all.families), func(a, b *dto.MetricFamily) int {
		return strings.Compare(a.GetName(), b.GetName())
	}), nil
}

// collected is one plugin's part of a scrape.
type collected struct {
	subsystem string
	families  []*dto.MetricFamily // sorted by name
	dropped   int                 // series beyond the limit
	fault     error
}

// collect asks all sources at once and returns their answers sorted by
// subsystem.
func (m *Merger) collect(ctx context.Context) []collected {
	sources := slices.SortedFunc(slices.Values(m.sources()), func(a, b Source) int {
		return strings.Compare(a.Subsystem, b.Subsystem)
	})
	answers := make([]collected, len(sources))
	var wg sync.WaitGroup
	for i, s := range sources {
		wg.Go(func() { answers[i] = s.collect(ctx) })
	}
	wg.Wait()
	for _, a := range answers {
		m.complain(a.subsystem, a.fault)
		if a.fault != nil {
			m.host.scrapeErrors.WithLabelValues(a.subsystem).Inc()
		}
		m.host.seriesDropped.WithLabelValues(a.subsystem).Add(float64(a.dropped))
	}
	return answers
}

func (s Source) collect(ctx context.Context) (c collected) {
	c.subsystem = s.Subsystem
	// The parsers are not ours, and what they parse is another program's.
	defer func() {
		if p := recover(); p != nil {
			c = collected{subsystem: s.Subsystem, fault: fmt.Errorf("internal: panic: %v", p)}
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, collectTimeout)
	defer cancel()
	contentType, body, err := s.Collect(ctx)
	if err != nil {
		c.fault = err
		return c
	}
	families, err := parse(contentType, body)
	if err != nil {
		c.fault = err
		return c
	}
	c.families, c.dropped, c.fault = adopt(families, s.Subsystem)
	return c
}

// complain logs a fault of a subject unless it was the last that was logged; a
// nil fault makes the next one news.
func (m *Merger) complain(subject string, fault error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if fault == nil {
		delete(m.said, subject)
		return
	}
	if m.said[subject] == fault.Error() || len(m.said) >= maxComplaints {
		return
	}
	m.said[subject] = fault.Error()
	subsystem, _, _ := strings.Cut(subject, " ")
	m.logger.Warn("metrics of a plugin are incomplete", "subsystem", subsystem, "err", fault)
}

// maxComplaints bounds what is remembered of plugins that rename their metrics
// with each scrape.
const maxComplaints = 1000
