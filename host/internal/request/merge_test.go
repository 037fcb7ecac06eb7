package request_test

import (
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/gaia-go/gaia/host/internal/request"
)

func TestWhatIsGivenInTwoWaysIsMergedOrRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, one, two string
		want           string // in text format; "" for an error
		wantErr        string
	}{
		{"different fields", `text: "a"`, `count: 1`, `text: "a" count: 1`, ""},
		{"nothing", `text: "a"`, ``, `text: "a"`, ""},
		{"messages", `point { x: 1 }`, `point { y: 2 }`, `point { x: 1 y: 2 }`, ""},
		{"entries of a map", `headers { key: "a" value: "1" }`, `headers { key: "b" value: "2" }`,
			`headers { key: "a" value: "1" } headers { key: "b" value: "2" }`, ""},
		{"the same field", `text: "a"`, `text: "a"`, "", `text: is given twice, in two ways, and takes one`},
		{"the same field of a message", `point { x: 1 }`, `point { x: 2 }`, "", `point.x: is given twice, in two ways, and takes one`},
		{"a list", `tags: "a"`, `tags: "b"`, "", `tags: is given twice, in two ways, and takes one`},
		{"another member of a oneof", `left: "a"`, `right: "b"`, "", `right: cannot be given beside left: at most one of the fields of oneof choice is allowed`},
		{"an entry", `headers { key: "a" value: "1" }`, `headers { key: "a" value: "2" }`, "", `headers.a: is given twice, in two ways, and takes one`},
	}
	md := everything(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			read := func(text string) *dynamicpb.Message {
				m := dynamicpb.NewMessage(md)
				if err := prototext.Unmarshal([]byte(text), m); err != nil {
					t.Fatal(err)
				}
				return m
			}
			m := read(tt.one)
			err := request.Merge(m, read(tt.two))
			switch {
			case tt.wantErr != "":
				if err == nil || err.Error() != tt.wantErr {
					t.Errorf("error %v, want %s", err, tt.wantErr)
				}
			case err != nil:
				t.Error(err)
			case !proto.Equal(m, read(tt.want)):
				t.Errorf("got %v, want %s", m, tt.want)
			}
		})
	}
}
