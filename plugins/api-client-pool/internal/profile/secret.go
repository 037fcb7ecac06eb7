package profile

import "log/slog"

const redacted = "[redacted]"

// Secret is a text that is sent to a profile's hosts and shown to nobody else:
// however it is printed, logged or encoded, it reads "[redacted]".
type Secret struct{ text string }

// NewSecret makes a Secret of text.
func NewSecret(text string) Secret { return Secret{text} }

// String returns "[redacted]".
func (Secret) String() string { return redacted }

// GoString returns "[redacted]".
func (Secret) GoString() string { return redacted }

// LogValue returns "[redacted]".
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]".
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Reveal returns the text.
func (s Secret) Reveal() string { return s.text }
