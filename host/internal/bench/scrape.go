package bench

import (
	"context"
	"fmt"
	"net/http"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// scrape reads the host's /metrics.
func (h *house) scrape(ctx context.Context) (families, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+h.http+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+h.token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close() //nolint:errcheck // it was read
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("/metrics: %s", response.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(response.Body)
}

// families are metrics by name.
type families map[string]*dto.MetricFamily

// sum adds up all series of a counter or gauge that have exactly the given
// values for these labels; an empty value stands for no such label.
func (f families) sum(name string, labels map[string]string) float64 {
	var total float64
	for _, m := range f[name].GetMetric() {
		if matches(m, labels) {
			total += m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
		}
	}
	return total
}

func matches(m *dto.Metric, labels map[string]string) bool {
	found := make(map[string]string)
	for _, l := range m.GetLabel() {
		found[l.GetName()] = l.GetValue()
	}
	for name, value := range labels {
		if found[name] != value {
			return false
		}
	}
	return true
}
