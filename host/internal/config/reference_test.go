package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheReferenceIsPrintedFromTheTables(t *testing.T) {
	golden(t, "reference.md", Reference())
}

func TestAConfigMessageIsPrintedAsTables(t *testing.T) {
	golden(t, "everything.md", ConfigReference(everything(t)))
}

func TestAMessageWithoutFieldsHasNothingToSet(t *testing.T) {
	md := everything(t).ParentFile().Messages().ByName("Empty")
	if got := ConfigReference(md); got != "Nothing to set.\n" {
		t.Errorf("got %q", got)
	}
}

func TestFormatLaysAFileOut(t *testing.T) {
	got, report := Format([]byte("host{\n# why\nhttp=\"\"\n  data_dir =  \"d\"\n}\n"), "config.hcl")
	want := "host {\n  # why\n  http     = \"\"\n  data_dir = \"d\"\n}\n"
	if diff := cmp.Diff(want, string(got)); diff != "" || report.Len() > 0 {
		t.Errorf("file differs (-want +got):\n%s\n%s", diff, plain(t, report))
	}
	again, _ := Format(got, "config.hcl")
	if diff := cmp.Diff(want, string(again)); diff != "" {
		t.Errorf("formatting twice changes the file (-want +got):\n%s", diff)
	}
}

func TestFormatRefusesWhatIsNotHCL(t *testing.T) {
	got, report := Format([]byte("host {\n  http = \"\n}\n"), "config.hcl")
	if diff := cmp.Diff([]string{"Unclosed quote"}, summaries(report)); diff != "" || got != nil {
		t.Errorf("file %q, summaries (-want +got):\n%s", got, diff)
	}
}
