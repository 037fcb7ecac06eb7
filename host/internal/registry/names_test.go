package registry

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAMethodIsNamedAsShortAsItIsUnambiguous(t *testing.T) {
	d := describe(t, file("a.v1", "One", "Get", "Only"), file("b.v1", "One", "Get"), file("b.v1", "Two", "Get>"))
	got := map[string]string{}
	for _, m := range d.Methods() {
		got[m.Name] = d.CallName(m)
	}
	want := map[string]string{
		"/a.v1.One/Get":  "a.v1.One.Get",
		"/a.v1.One/Only": "Only",
		"/b.v1.One/Get":  "b.v1.One.Get",
		"/b.v1.Two/Get":  "Two.Get",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, want := range map[string]int{"Get": 3, "One.Get": 2, "One/Get": 2, "b.v1.Two/Get": 1, "Only": 1, "get": 0, "": 0} {
		if found := d.Named(name); len(found) != want {
			t.Errorf("%q names %d methods, want %d", name, len(found), want)
		}
	}
}
