package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// maxSeries is how many series a plugin may have before anybody has used it.
const maxSeries = 2000

func hasMetrics(ctx context.Context, s *suite) error {
	i, err := s.live(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	r, err := i.contract.CollectMetrics(ctx, &pluginv1.CollectMetricsRequest{})
	if isUnimplemented(err) || err == nil && len(r.GetBody()) == 0 {
		return skipf("it has no metrics of its own")
	}
	if err != nil {
		return fail("metrics within a second", err.Error(), "answer CollectMetrics from memory")
	}
	families, err := parseMetrics(r)
	if err != nil {
		return fail("an exposition as content_type says, "+r.GetContentType(), err.Error(), "write what Prometheus' own libraries write")
	}
	series := 0
	for _, f := range families {
		series += len(f.GetMetric())
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "subsystem" {
					return fail("no label subsystem", "one at "+f.GetName(), "leave it out: the host adds it")
				}
			}
		}
	}
	if series > maxSeries {
		return fail(fmt.Sprintf("at most %d series", maxSeries), fmt.Sprint(series), "let no label take values without bound, such as URLs, paths or names of users")
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		return err
	}
	// A plugin may be called word-counter, and its metrics after it.
	problems = slices.DeleteFunc(problems, func(p promlint.Problem) bool { return strings.Contains(p.Text, "should not include type") })
	if len(problems) > 0 {
		return fail("names as Prometheus users expect them", problems[0].Metric+": "+problems[0].Text, "see prometheus.io/docs/practices/naming")
	}
	return nil
}

func parseMetrics(r *pluginv1.CollectMetricsResponse) ([]*dto.MetricFamily, error) {
	format := expfmt.ResponseFormat(http.Header{"Content-Type": {r.GetContentType()}})
	if format.FormatType() == expfmt.TypeUnknown {
		return nil, errors.New("content_type is unknown")
	}
	decoder := expfmt.NewDecoder(bytes.NewReader(r.GetBody()), format)
	var families []*dto.MetricFamily
	for {
		family := new(dto.MetricFamily)
		switch err := decoder.Decode(family); {
		case errors.Is(err, io.EOF):
			return families, nil
		case err != nil:
			return nil, err
		}
		families = append(families, family)
	}
}
