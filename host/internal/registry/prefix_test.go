package registry

import (
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

func TestTheFieldThatIsCutOffIsLeftOut(t *testing.T) {
	message := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 503)
	whole := len(message)
	message = protowire.AppendString(protowire.AppendTag(message, 2, protowire.BytesType), "a long body")
	for n := range len(message) + 1 {
		want := 0
		switch {
		case n == len(message):
			want = n
		case n >= whole:
			want = whole
		}
		if got := len(wholeFields(message[:n])); got != want {
			t.Errorf("of %d bytes %d are whole, want %d", n, got, want)
		}
	}
}
