package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"
)

const (
	textType      = "text/plain; version=0.0.4; charset=utf-8"
	delimitedType = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)

// text is a plugin that answers in the text format.
func text(subsystem, body string) Source {
	return Source{subsystem, func(context.Context) (string, []byte, error) { return textType, []byte(body), nil }}
}

// delimited is a plugin that answers in protobuf.
func delimited(t *testing.T, subsystem string, families ...*dto.MetricFamily) Source {
	t.Helper()
	var body bytes.Buffer
	for _, f := range families {
		if _, err := protodelim.MarshalTo(&body, f); err != nil {
			t.Fatal(err)
		}
	}
	return Source{subsystem, func(context.Context) (string, []byte, error) { return delimitedType, body.Bytes(), nil }}
}

// merged is one scrape: the page, what was logged, and the metrics of the host.
func merged(t *testing.T, sources ...Source) (page, log string, host *Metrics) {
	t.Helper()
	host = New("dev")
	for _, s := range sources {
		host.Subsystem(s.Subsystem)
	}
	var logged bytes.Buffer
	m := NewMerger(host, func() []Source { return sources }, hclog.New(&hclog.LoggerOptions{Output: &logged}))
	page = scrape(t, m)
	return page, logged.String(), host
}

func scrape(t *testing.T, m *Merger) string {
	t.Helper()
	families, err := m.Gatherer(t.Context()).Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&out, f); err != nil {
			t.Errorf("the page cannot be written: %v", err)
		}
	}
	if _, err := parseText(out.Bytes()); err != nil {
		t.Errorf("the page cannot be read: %v", err)
	}
	return out.String()
}

// lines are those of a page that begin with a prefix.
func lines(page, prefix string) string {
	var b strings.Builder
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, prefix) {
			b.WriteString(line)
		}
	}
	return b.String()
}

func errorsOf(t *testing.T, m *Metrics, subsystem string) float64 {
	t.Helper()
	return testutil.ToFloat64(m.scrapeErrors.WithLabelValues(subsystem))
}

func TestPluginsMetricsGetASubsystemLabel(t *testing.T) {
	page, log, _ := merged(t,
		text("b", "# HELP jobs_total Jobs.\n# TYPE jobs_total counter\njobs_total{kind=\"x\"} 2 1700000000000\n"),
		text("a", "# TYPE jobs_total counter\njobs_total{subsystem=\"inner\",exported_subsystem=\"y\"} 1\n"+
			"# TYPE wait_seconds histogram\nwait_seconds_bucket{le=\"1\"} 1\nwait_seconds_bucket{le=\"+Inf\"} 2\nwait_seconds_sum 3\nwait_seconds_count 2\n"),
	)
	want := `jobs_total{exported_exported_subsystem="inner",exported_subsystem="y",subsystem="a"} 1
jobs_total{kind="x",subsystem="b"} 2
`
	if got := lines(page, "jobs_total"); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	want = `wait_seconds_bucket{subsystem="a",le="1"} 1
wait_seconds_bucket{subsystem="a",le="+Inf"} 2
wait_seconds_sum{subsystem="a"} 3
wait_seconds_count{subsystem="a"} 2
`
	if got := lines(page, "wait_seconds"); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if log != "" {
		t.Errorf("logged %s", log)
	}
}

func TestARealRegistryOfAPluginIsMerged(t *testing.T) {
	plugin := prometheus.NewRegistry()
	plugin.MustRegister(prometheus.NewGoCollector()) //nolint:staticcheck // what plugins of today use
	families, err := plugin.Gather()
	if err != nil {
		t.Fatal(err)
	}
	page, log, _ := merged(t, delimited(t, "s", families...))
	if got := lines(page, "go_goroutines"); strings.Count(got, "\n") != 2 || !strings.Contains(got, `go_goroutines{subsystem="s"}`) {
		t.Errorf("go_goroutines of host and plugin:\n%s", got)
	}
	if log != "" {
		t.Errorf("logged %s", log)
	}
}

func TestTheHostsOwnMetricsCannotBeForged(t *testing.T) {
	page, log, host := merged(t, text("s",
		"# TYPE gaia_held_total counter\ngaia_held_total 7\n"+
			"# TYPE gaia_call_seconds_count counter\ngaia_call_seconds_count 7\n"+
			"# TYPE gaia_api_requests_total counter\ngaia_api_requests_total 7\n"))
	if got := lines(page, "gaia_held_total"); got != "gaia_held_total{subsystem=\"s\"} 0\n" {
		t.Errorf("got %s", got)
	}
	if got := lines(page, "gaia_call_seconds_count"); got != "" {
		t.Errorf("got %s", got)
	}
	if got := lines(page, "gaia_api_requests_total"); got == "" {
		t.Error("a name that the host does not have was left out")
	}
	if !strings.Contains(log, "gaia_held_total") || !strings.Contains(log, "host's own") {
		t.Errorf("logged %s", log)
	}
	if got := errorsOf(t, host, "s"); got != 2 {
		t.Errorf("%v scrape errors, want 2", got)
	}
}

func TestOfTwoTypesForOneNameTheFirstSubsystemsHolds(t *testing.T) {
	page, log, host := merged(t,
		text("b", "# TYPE jobs gauge\njobs 2\n# TYPE other gauge\nother 1\n"),
		text("a", "# TYPE jobs counter\njobs 1\n"))
	if got := lines(page, "jobs"); got != "jobs{subsystem=\"a\"} 1\n" {
		t.Errorf("got %s", got)
	}
	if lines(page, "other") == "" {
		t.Error("the plugin's other metrics are gone, too")
	}
	if !strings.Contains(log, "is a gauge here and a counter elsewhere") {
		t.Errorf("logged %s", log)
	}
	if errorsOf(t, host, "b") != 1 || errorsOf(t, host, "a") != 0 {
		t.Error("the error is not counted where it belongs")
	}
}

func TestAPluginThatAnswersWronglyDoesNotSpoilThePage(t *testing.T) {
	good := text("good", "# TYPE fine gauge\nfine 1\n")
	gauge := func(name string, labels ...[2]string) *dto.MetricFamily {
		m := &dto.Metric{Gauge: &dto.Gauge{Value: proto.Float64(1)}}
		for _, l := range labels {
			m.Label = append(m.Label, &dto.LabelPair{Name: &l[0], Value: &l[1]})
		}
		return &dto.MetricFamily{Name: &name, Type: dto.MetricType_GAUGE.Enum(), Metric: []*dto.Metric{m}}
	}
	double := gauge("x", [2]string{"a", "1"})
	double.Metric = append(double.Metric, double.GetMetric()[0])
	empty := gauge("x")
	empty.Metric[0].Gauge = nil
	strange := gauge("x")
	strange.Type = dto.MetricType(77).Enum()
	for name, bad := range map[string]Source{
		"an error":        {"bad", func(context.Context) (string, []byte, error) { return "", nil, errors.New("boom") }},
		"a panic":         {"bad", func(context.Context) (string, []byte, error) { panic("boom") }},
		"no text format":  text("bad", "<html>\n"),
		"half a line":     text("bad", "x{a=\"1\n"),
		"a bad number":    text("bad", "x one\n"),
		"an invalid name": text("bad", "x-y 1\n"),
		"the same twice":  text("bad", "x 1\nx 2\n"),
		"invalid UTF-8":   text("bad", "x{a=\"\xff\"} 1\n"),
		"too much":        text("bad", "# "+strings.Repeat("x", maxExposition)+"\n"),
		"content type":    {"bad", func(context.Context) (string, []byte, error) { return "text/html", []byte("x 1\n"), nil }},
		"no content type": {"bad", func(context.Context) (string, []byte, error) { return "", []byte("x 1\n"), nil }},
		"a huge length": {"bad", func(context.Context) (string, []byte, error) {
			return delimitedType, []byte("\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), nil
		}},
		"rubbish":            {"bad", func(context.Context) (string, []byte, error) { return delimitedType, []byte("\x05hello"), nil }},
		"pb: no value":       delimited(t, "bad", empty),
		"pb: unknown type":   delimited(t, "bad", strange),
		"pb: invalid name":   delimited(t, "bad", gauge("x y")),
		"pb: no name":        delimited(t, "bad", gauge("")),
		"pb: family twice":   delimited(t, "bad", gauge("x"), gauge("x")),
		"pb: series twice":   delimited(t, "bad", double),
		"pb: label twice":    delimited(t, "bad", gauge("x", [2]string{"a", "1"}, [2]string{"a", "2"})),
		"pb: label name":     delimited(t, "bad", gauge("x", [2]string{"a b", "1"})),
		"pb: label le":       delimited(t, "bad", gauge("x", [2]string{"le", "1"})),
		"pb: label __name__": delimited(t, "bad", gauge("x", [2]string{"__name__", "y"})),
		"pb: label value":    delimited(t, "bad", gauge("x", [2]string{"a", "\xff"})),
	} {
		t.Run(name, func(t *testing.T) {
			page, log, host := merged(t, bad, good)
			if got := lines(page, "x"); got != "" {
				t.Errorf("got %q", got)
			}
			if got := lines(page, "fine"); got != "fine{subsystem=\"good\"} 1\n" {
				t.Errorf("the other plugin's: %q", got)
			}
			if got := lines(page, "gaia_plugin_scrape_errors_total{subsystem=\"bad\"}"); !strings.HasSuffix(got, " 1\n") {
				t.Errorf("the page says %q", got)
			}
			if errorsOf(t, host, "good") != 0 {
				t.Error("the other plugin was blamed")
			}
			if !strings.Contains(log, "subsystem=bad") {
				t.Errorf("logged %q", log)
			}
		})
	}
}

func TestAFaultIsLoggedOnce(t *testing.T) {
	var fault error
	source := Source{"s", func(context.Context) (string, []byte, error) { return textType, nil, fault }}
	var log bytes.Buffer
	m := NewMerger(New("dev"), func() []Source { return []Source{source} }, hclog.New(&hclog.LoggerOptions{Output: &log}))
	for _, step := range []struct {
		fault error
		want  int // lines logged until then
	}{
		{errors.New("one"), 1}, {errors.New("one"), 1}, {errors.New("two"), 2}, {nil, 2}, {errors.New("two"), 3},
	} {
		fault = step.fault
		scrape(t, m)
		if got := strings.Count(log.String(), "\n"); got != step.want {
			t.Errorf("after %v: %d lines, want %d", step.fault, got, step.want)
		}
	}
}

func TestASlowPluginCostsOneSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := func(ctx context.Context) (string, []byte, error) {
			<-ctx.Done()
			return "", nil, ctx.Err()
		}
		start := time.Now()
		page, _, host := merged(t, Source{"slow", hang}, Source{"slower", hang}, text("good", "fine 1\n"))
		if got := time.Since(start); got != time.Second {
			t.Errorf("took %v, want 1s", got)
		}
		if lines(page, "fine") == "" {
			t.Error("the answer of the other plugin is lost")
		}
		if errorsOf(t, host, "slow") != 1 || errorsOf(t, host, "slower") != 1 {
			t.Error("not counted")
		}
	})
}

func TestAPluginsSeriesAreBounded(t *testing.T) {
	var body strings.Builder
	body.WriteString("# TYPE a_small gauge\na_small 1\n# TYPE many gauge\n")
	for i := range maxSeries + 100 {
		fmt.Fprintf(&body, "many{i=\"%d\"} 1\n", i)
	}
	body.WriteString("# TYPE z_seconds histogram\nz_seconds_bucket{le=\"1\"} 1\nz_seconds_sum 3\nz_seconds_count 2\n")
	page, _, host := merged(t, text("s", body.String()), text("other", "other 1\n"))
	if got := strings.Count(lines(page, "many"), "\n"); got != maxSeries-1 {
		t.Errorf("%d series of many, want %d", got, maxSeries-1)
	}
	if lines(page, "a_small") == "" || lines(page, "other") == "" {
		t.Error("series within the limit are gone")
	}
	if lines(page, "z_seconds") != "" {
		t.Error("a histogram passed when there was no room for it")
	}
	const dropped = 101 + 4 // of many, and the histogram with its +Inf
	if got := testutil.ToFloat64(host.seriesDropped.WithLabelValues("s")); got != dropped {
		t.Errorf("%v dropped, want %d", got, dropped)
	}
	if got := testutil.ToFloat64(host.seriesDropped.WithLabelValues("other")); got != 0 {
		t.Errorf("%v of the other dropped", got)
	}
}

func TestNativeBucketsAndExemplarsAreStripped(t *testing.T) {
	h := &dto.MetricFamily{Name: new("h"), Type: dto.MetricType_HISTOGRAM.Enum(), Metric: []*dto.Metric{{
		Histogram: &dto.Histogram{
			SampleCount: proto.Uint64(1), SampleSum: proto.Float64(2), Schema: proto.Int32(99),
			PositiveSpan: []*dto.BucketSpan{{Length: proto.Uint32(1 << 31)}},
			Bucket: []*dto.Bucket{{
				CumulativeCount: proto.Uint64(1), UpperBound: proto.Float64(5),
				Exemplar: &dto.Exemplar{Label: []*dto.LabelPair{{Name: new("\xff")}}},
			}},
		},
		TimestampMs: proto.Int64(1),
	}}}
	host := New("dev")
	m := NewMerger(host, func() []Source { return []Source{delimited(t, "s", h)} }, hclog.NewNullLogger())
	families, err := m.Gatherer(t.Context()).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "h" {
			continue
		}
		got := f.GetMetric()[0]
		if got.GetHistogram().Schema != nil || got.GetHistogram().GetPositiveSpan() != nil ||
			got.GetHistogram().GetBucket()[0].GetExemplar() != nil || got.TimestampMs != nil {
			t.Errorf("got %v", got)
		}
		return
	}
	t.Error("the histogram is missing")
}

// FuzzExposition feeds what a broken or hostile plugin might send.
func FuzzExposition(f *testing.F) {
	f.Add(true, []byte("# TYPE x counter\nx{a=\"1\",subsystem=\"s\"} 2 3\n"))
	f.Add(true, []byte("# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 3\nh_count 2\n"))
	f.Add(false, []byte("\x05hello"))
	f.Fuzz(func(t *testing.T, isText bool, body []byte) {
		contentType := delimitedType
		if isText {
			contentType = textType
		}
		families, err := parse(contentType, body)
		if err != nil {
			return
		}
		families, _, _ = adopt(families, "s")
		var out bytes.Buffer
		for _, family := range families {
			if _, err := expfmt.MetricFamilyToText(&out, family); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := parseText(out.Bytes()); err != nil {
			t.Errorf("the page cannot be read: %v\n%s", err, out.String())
		}
	})
}
