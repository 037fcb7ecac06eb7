package profile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestASecretIsReadByNobodyButReveal(t *testing.T) {
	const text = "hunter2"
	secret := NewSecret(text)
	if secret.Reveal() != text || secret.IsZero() || !NewSecret("").IsZero() || (Secret{}).Reveal() != "" {
		t.Errorf("got %q, want %q; and nothing of nothing", secret.Reveal(), text)
	}
	type exported struct{ S Secret }
	type hidden struct {
		s  Secret
		ps *Secret
	}
	var seen bytes.Buffer
	for _, v := range []any{secret, &secret, exported{secret}, hidden{secret, &secret}, []Secret{secret}, map[string]Secret{"a": secret}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			_, _ = fmt.Fprintf(&seen, verb+"\n", v)
		}
		encoded, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		seen.Write(encoded)
		slog.New(slog.NewJSONHandler(&seen, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&seen, nil)).Info("x", "v", v)
	}
	for _, form := range []string{text, fmt.Sprintf("%x", text)} {
		if strings.Contains(seen.String(), form) {
			t.Errorf("%s is in:\n%s", form, &seen)
		}
	}
	if !strings.Contains(seen.String(), redacted) {
		t.Errorf("got no %s in:\n%s", redacted, &seen)
	}
}
