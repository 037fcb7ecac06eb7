package telemetry

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/encoding/protodelim"
)

const (
	// maxSeries is how many series one subsystem may have on the page: some 40
	// are usual, and 2,000 of five subsystems are a page of 1 MiB.
	maxSeries = 2000
	// maxExposition bounds what is parsed, in bytes: 2,000 series of 500.
	maxExposition = 1 << 20
	// subsystemLabel is added to each series of a plugin.
	subsystemLabel = "subsystem"
)

// parse reads an exposition. Families are sorted by name and have metrics.
func parse(contentType string, body []byte) ([]*dto.MetricFamily, error) {
	if len(body) > maxExposition {
		return nil, fmt.Errorf("metrics: exposition of %d bytes, limit %d", len(body), maxExposition)
	}
	if len(body) == 0 {
		return nil, nil
	}
	format := expfmt.ResponseFormat(http.Header{"Content-Type": {contentType}})
	switch format.FormatType() {
	case expfmt.TypeTextPlain:
		return parseText(body)
	case expfmt.TypeProtoDelim:
		return parseDelimited(body)
	case expfmt.TypeUnknown, expfmt.TypeProtoCompact, expfmt.TypeProtoText, expfmt.TypeOpenMetrics:
	}
	return nil, fmt.Errorf("metrics: content type %q; want text/plain; version=0.0.4 or delimited protobuf", contentType)
}

func parseText(body []byte) ([]*dto.MetricFamily, error) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	byName, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return slices.SortedFunc(maps.Values(byName), compareNames), nil
}

// parseDelimited does not use expfmt's decoder, which allocates whatever size
// a message claims to have.
func parseDelimited(body []byte) ([]*dto.MetricFamily, error) {
	r := bytes.NewReader(body)
	options := protodelim.UnmarshalOptions{MaxSize: maxExposition}
	byName := make(map[string]*dto.MetricFamily)
	for {
		f := new(dto.MetricFamily)
		err := options.UnmarshalFrom(r, f)
		if errors.Is(err, io.EOF) {
			return slices.SortedFunc(maps.Values(byName), compareNames), nil
		}
		if err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
		if !model.LegacyValidation.IsValidMetricName(f.GetName()) {
			return nil, fmt.Errorf("metrics: invalid metric name %q", f.GetName())
		}
		if byName[f.GetName()] != nil {
			return nil, fmt.Errorf("metrics: metric %q twice", f.GetName())
		}
		if len(f.GetMetric()) > 0 {
			byName[f.GetName()] = f
		}
	}
}

func compareNames(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) }

// adopt labels a plugin's families with its subsystem and removes what could
// spoil the page. It changes the families in place, leaves out those that are
// wrong in themselves, and reports the first such fault and how many series
// were dropped for being too many.
func adopt(families []*dto.MetricFamily, subsystem string) (kept []*dto.MetricFamily, dropped int, fault error) {
	room := maxSeries
	for _, f := range families {
		if err := adoptFamily(f, subsystem); err != nil {
			fault = cmp.Or(fault, err)
			continue
		}
		f.Metric = slices.DeleteFunc(f.GetMetric(), func(m *dto.Metric) bool {
			n := seriesOf(m)
			if n > room {
				dropped += n
				return true
			}
			room -= n
			return false
		})
		if len(f.GetMetric()) > 0 {
			kept = append(kept, f)
		}
	}
	return kept, dropped, fault
}

func adoptFamily(f *dto.MetricFamily, subsystem string) error {
	if f.Help != nil {
		f.Help = new(strings.ToValidUTF8(f.GetHelp(), "\uFFFD"))
	}
	seen := make(map[string]bool, len(f.GetMetric()))
	for _, m := range f.GetMetric() {
		if err := relabel(m, subsystem); err != nil {
			return fmt.Errorf("metrics: %q: %w", f.GetName(), err)
		}
		key := labelsKey(m)
		if seen[key] {
			return fmt.Errorf("metrics: %q has two series with the labels %s", f.GetName(), key)
		}
		seen[key] = true
		strip(m)
	}
	// The encoder is the judge of whether it can write the family.
	if _, err := expfmt.MetricFamilyToText(io.Discard, f); err != nil {
		return fmt.Errorf("metrics: %q: %w", f.GetName(), err)
	}
	return nil
}

// relabel adds the subsystem label and checks the others.
func relabel(m *dto.Metric, subsystem string) error {
	names := make(map[string]bool, len(m.GetLabel())+1)
	for _, l := range m.GetLabel() {
		names[l.GetName()] = true
	}
	if len(names) != len(m.GetLabel()) {
		return errors.New("a label appears twice")
	}
	for _, l := range m.GetLabel() {
		name := l.GetName()
		switch {
		case name == subsystemLabel:
			for names[name] {
				name = "exported_" + name
			}
			l.Name = new(name)
		case !model.LegacyValidation.IsValidLabelName(name) || strings.HasPrefix(name, "__") || name == model.BucketLabel || name == model.QuantileLabel:
			return fmt.Errorf("label name %q is invalid or reserved", name)
		case !utf8.ValidString(l.GetValue()):
			return fmt.Errorf("the value of label %q is not UTF-8", name)
		}
	}
	m.Label = append(m.GetLabel(), &dto.LabelPair{Name: new(subsystemLabel), Value: new(subsystem)})
	slices.SortFunc(m.GetLabel(), func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
	return nil
}

// labelsKey tells series of a family apart.
func labelsKey(m *dto.Metric) string {
	var b strings.Builder
	for _, l := range m.GetLabel() {
		fmt.Fprintf(&b, "%s=%q,", l.GetName(), l.GetValue())
	}
	return b.String()
}

// strip removes what Prometheus may refuse a whole page for: timestamps that
// are old, exemplars and native buckets that are malformed.
func strip(m *dto.Metric) {
	m.TimestampMs = nil
	if c := m.GetCounter(); c != nil {
		m.Counter = &dto.Counter{Value: c.Value}
	}
	if h := m.GetHistogram(); h != nil {
		m.Histogram = &dto.Histogram{SampleCount: h.SampleCount, SampleSum: h.SampleSum}
		for _, b := range h.GetBucket() {
			m.Histogram.Bucket = append(m.Histogram.Bucket, &dto.Bucket{CumulativeCount: b.CumulativeCount, UpperBound: b.UpperBound})
		}
	}
}

// seriesOf is how many series a metric is on the page.
func seriesOf(m *dto.Metric) int {
	switch {
	case m.GetHistogram() != nil:
		n := len(m.GetHistogram().GetBucket()) + 2 // sum and count
		if !slices.ContainsFunc(m.GetHistogram().GetBucket(), func(b *dto.Bucket) bool { return math.IsInf(b.GetUpperBound(), 1) }) {
			n++ // +Inf is written anyway
		}
		return n
	case m.GetSummary() != nil:
		return len(m.GetSummary().GetQuantile()) + 2
	default:
		return 1
	}
}
