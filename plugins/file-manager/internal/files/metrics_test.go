package files

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"github.com/google/go-cmp/cmp"
)

// gather reads the metrics as "name{label="value"}" → value; of a histogram the
// count.
func gather(t *testing.T, m *Manager) map[string]float64 {
	t.Helper()
	families, err := m.Metrics().Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, label := range m.GetLabel() {
				name += fmt.Sprintf("{%s=%q}", label.GetName(), label.GetValue())
			}
			all[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return all
}

func TestTheMetricsSayWhatHasHappened(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, ".gaia/tmp/left", "over")
	b := serve(t, dir, &filev1.Config{Root: map[string]*filev1.Root{"r": {Path: dir, Mode: filev1.Mode_RW, Quota: 100}, "gone": {Path: dir + "2"}}})
	etag := b.mustWrite("f", "12345").GetEtag()
	b.mustWrite("f", "1234")
	if _, err := b.write("f", "x", func(o *filev1.WriteOptions) { o.IfMatch = etag }); err == nil {
		t.Error("an old etag: got no error")
	}
	if _, err := b.ReadFile(t.Context(), &filev1.ReadFileRequest{Root: "r", Path: "f"}); err != nil {
		t.Error(err)
	}
	if _, err := b.lock("g", "1m", "0s", ""); err != nil {
		t.Error(err)
	}
	want := map[string]float64{
		"gaia_file_read_bytes_total":              4,
		"gaia_file_written_bytes_total":           9,
		"gaia_file_streams_open":                  0,
		"gaia_file_sync_seconds":                  4,
		"gaia_file_conflicts_total":               1,
		"gaia_file_swept_total":                   1,
		"gaia_file_searched_total":                0,
		"gaia_file_search_skipped_total":          0,
		"gaia_file_watched_directories":           0,
		"gaia_file_watch_events_total":            0,
		"gaia_file_watch_overflows_total":         0,
		`gaia_file_root_up{root="r"}`:             1,
		`gaia_file_root_used_bytes{root="r"}`:     4,
		`gaia_file_root_files{root="r"}`:          1,
		`gaia_file_root_quota_bytes{root="r"}`:    100,
		`gaia_file_root_locks{root="r"}`:          1,
		`gaia_file_root_up{root="gone"}`:          0,
		`gaia_file_root_used_bytes{root="gone"}`:  0,
		`gaia_file_root_files{root="gone"}`:       0,
		`gaia_file_root_quota_bytes{root="gone"}`: 0,
		`gaia_file_root_locks{root="gone"}`:       0,
	}
	if diff := cmp.Diff(want, gather(t, b.manager)); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func TestTheREADMEListsTheMetricsThatThereAre(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := regexp.MustCompile(`gaia_file_[a-z_]+`).FindAllString(string(text), -1)
	var exposed []string
	for name := range gather(t, open(t).manager) {
		exposed = append(exposed, regexp.MustCompile(`^[a-z_]+`).FindString(name))
	}
	slices.Sort(documented)
	slices.Sort(exposed)
	if diff := cmp.Diff(slices.Compact(exposed), slices.Compact(documented)); diff != "" {
		t.Errorf("README.md (-exposed +documented):\n%s", diff)
	}
}
