package rest

import (
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

func TestWhichAnswerACallerAccepts(t *testing.T) {
	for accept, want := range map[string]string{
		"":                                    "",
		"*/*":                                 "",
		"application/json":                    "",
		"application/x-ndjson":                "",
		"application/problem+json":            "",
		"text/html, */*;q=0.8":                "",
		"application/octet-stream":            "application/octet-stream",
		"image/png":                           "image/png",
		"image/*":                             "image/*",
		"image/png, application/pdf":          "image/png",
		"image/png, application/json":         "",
		"application/json;q=0, image/png":     "image/png",
		"application/octet-stream; q=0.5,   ": "application/octet-stream",
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
		if accept != "" {
			r.Header.Set("Accept", accept)
		}
		if got, fault := acceptedType(r); fault != nil || got != want {
			t.Errorf("Accept: %s: got %q, %v, want %q", accept, got, fault, want)
		}
	}
}

func TestTimeoutsAsGRPCHasThem(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"1H": time.Hour, "2M": 2 * time.Minute, "3S": 3 * time.Second, "4m": 4 * time.Millisecond, "5u": 5 * time.Microsecond, "6n": 6,
		"99999999H": math.MaxInt64, "0S": 1, "": 0, "S": 0, "1": 0, "1s": 0, "-1S": 0, "100000000S": 0, "1.5S": 0,
	} {
		if got, ok := grpcTimeout(value); got != want || ok != (want != 0) {
			t.Errorf("%q: got %d, %t, want %d", value, got, ok, want)
		}
	}
}

func FuzzAQueryIsReadOrRefused(f *testing.F) {
	for _, seed := range []string{"a=b&c=d", "a", "a=%zz", "body=x&field=y&=&&", "a=b=c", "%61=+%2B"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := parseQuery(raw, rawInParameter, rawOutParameter)
		if err == nil && len(q.arguments) > strings.Count(raw, "&")+1 {
			t.Errorf("%q: %q", raw, q.arguments)
		}
	})
}

func TestMessagesOfErrorsFitIntoTrailers(t *testing.T) {
	if got, want := percentEncoded("50 % ö\n"), "50 %25 %C3%B6%0A"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestHeadersTellOfAnAnswerWhatFitsThere(t *testing.T) {
	raw, err := os.ReadFile("../../cli/testdata/rich.binpb")
	if err != nil {
		t.Fatal(err)
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(raw, &set); err != nil {
		t.Fatal(err)
	}
	file, err := protodesc.NewFile(set.GetFile()[0], protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	m := dynamicpb.NewMessage(file.Messages().ByName("Everything"))
	text := `text:"two words" count:-3 big:5 flag:true level:LOUD ratio:0.5 tags:"a" tags:"b" blob:"x" api_key:"secret" left:"line\nbreak"
		wait:{seconds:1 nanos:500000000} at:{seconds:0} point:{x:1} child:{point:{x:2} small_size:4}`
	if err := prototext.Unmarshal([]byte(text), m); err != nil {
		t.Fatal(err)
	}
	got := http.Header{}
	setHeaders(got, m, "Gaia", maxHeaderDepth)
	want := http.Header{
		"Gaia-Text": {"two words"}, "Gaia-Count": {"-3"}, "Gaia-Big": {"5"}, "Gaia-Flag": {"true"}, "Gaia-Level": {"LOUD"},
		"Gaia-Ratio": {"0.5"}, "Gaia-Wait": {"1.500s"}, "Gaia-At": {"1970-01-01T00:00:00Z"}, "Gaia-Point-X": {"1"}, "Gaia-Child-Small-Size": {"4"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
