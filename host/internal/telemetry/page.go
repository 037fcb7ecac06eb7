package telemetry

import (
	"fmt"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// page is the metrics page of one scrape while it is put together.
type page struct {
	families map[string]*dto.MetricFamily // by name
	own      names
}

func newPage(host []*dto.MetricFamily, own names) *page {
	p := &page{families: make(map[string]*dto.MetricFamily, 2*len(host)), own: own}
	for _, f := range host {
		p.families[f.GetName()] = f
	}
	return p
}

// add puts a plugin's family on the page or says why not.
func (p *page) add(f *dto.MetricFamily) error {
	name := f.GetName()
	if p.own[name] {
		return fmt.Errorf("metric %q is the host's own; the plugin must rename it", name)
	}
	there, ok := p.families[name]
	if !ok {
		p.families[name] = f
		return nil
	}
	if there.GetType() != f.GetType() {
		return fmt.Errorf("metric %q is a %s here and a %s elsewhere; one plugin must rename it",
			name, typeName(f), typeName(there))
	}
	there.Metric = append(there.Metric, f.GetMetric()...)
	return nil
}

func typeName(f *dto.MetricFamily) string { return strings.ToLower(f.GetType().String()) }
