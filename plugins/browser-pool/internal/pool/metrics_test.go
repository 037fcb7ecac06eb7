package pool

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheREADMEListsTheMetricsThatThereAre(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := regexp.MustCompile(`gaia_browser_[a-z_]+`).FindAllString(string(text), -1)
	families, err := New().Metrics().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var exposed []string
	for _, family := range families {
		exposed = append(exposed, family.GetName())
	}
	slices.Sort(documented)
	slices.Sort(exposed)
	if diff := cmp.Diff(exposed, slices.Compact(documented)); diff != "" {
		t.Errorf("README.md (-exposed +documented):\n%s", diff)
	}
}
