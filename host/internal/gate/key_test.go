package gate

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// onceOnly is a request of which each key may be read once.
type onceOnly struct {
	t    *testing.T
	read map[string]bool
}

// Key complains about a key that is read again.
func (o *onceOnly) Key(name string) ([]byte, bool) {
	if o.read[name] {
		o.t.Errorf("key %q is read again", name)
	}
	o.read[name] = true
	return []byte("x"), name == "domain"
}

func TestAKeyIsReadOnceHoweverManyPoliciesUseIt(t *testing.T) {
	config := everything()
	for _, key := range []string{"a", "b", "c"} { // more than a call has room for
		config.PerKey = append(config.PerKey, KeyLimit{Key: key, Concurrency: 1}, KeyLimit{Key: key + "2", Concurrency: 1})
	}
	keys := &onceOnly{t, map[string]bool{}}
	if err := New(config, nil).Do(t.Context(), &Call{Keys: keys}, ok); err != nil {
		t.Fatal(err)
	}
	if len(keys.read) != 7 {
		t.Errorf("read %v", keys.read)
	}
}

func TestALongValueIsToldApartByItsBeginning(t *testing.T) {
	g := New(Config{Rates: []Rate{{Name: "r", Key: "domain", Quota: Quota{Events: 1, Per: time.Hour}}}}, nil)
	long := strings.Repeat("x", maxValue)
	for _, c := range []struct {
		given, value string
		want         codes.Code
	}{
		{"the longest", long, codes.OK},
		{"longer, of the same beginning", long + "y", codes.ResourceExhausted},
		{"another beginning", "y" + long, codes.OK},
		{"shorter", long[1:], codes.OK},
	} {
		if err := try(t, g, c.value); status.Code(err) != c.want {
			t.Errorf("%s: got %v, want %v", c.given, err, c.want)
		}
	}
}

func TestTheEmptyValueIsAValueAndNoKeyIsNone(t *testing.T) {
	g := New(Config{Rates: []Rate{{Name: "r", Key: "domain", Quota: Quota{Events: 1, Per: time.Hour}}}}, nil)
	empty := func() *Call { return &Call{Keys: requestKeys{"domain": ""}} }
	if err := g.Do(t.Context(), empty(), ok); err != nil {
		t.Errorf("the first: %v", err)
	}
	if err := g.Do(t.Context(), empty(), ok); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("the second: %v", err)
	}
	for range 3 {
		if err := g.Do(t.Context(), &Call{Keys: requestKeys{"other": ""}}, ok); err != nil {
			t.Errorf("without the key: %v", err)
		}
	}
}
