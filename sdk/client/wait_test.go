package client

import (
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/gaia-go/gaia/sdk/link"
)

func TestAHostIsGreetedAgainAsOftenAsItMayHelp(t *testing.T) {
	cut := &net.OpError{Op: "read", Net: "unix", Err: os.ErrDeadlineExceeded}
	for name, tt := range map[string]struct {
		last time.Duration
		err  error
		want time.Duration
	}{
		"after a link":                {10 * time.Second, nil, redialEvery},
		"it speaks something else":    {redialEvery, fmt.Errorf("%w: it began with %q", link.ErrNoLink, "HTTP"), noLinkEvery},
		"it was too busy to greet":    {redialEvery, fmt.Errorf("%w: %w", link.ErrNoLink, cut), 2 * redialEvery},
		"it hung up":                  {time.Second, fmt.Errorf("%w: %w", link.ErrNoLink, io.EOF), 2 * time.Second},
		"it hung up half way":         {time.Second, fmt.Errorf("%w: %w", link.ErrNoLink, io.ErrUnexpectedEOF), 2 * time.Second},
		"it has hung up a long while": {20 * time.Second, fmt.Errorf("%w: %w", link.ErrNoLink, io.EOF), noLinkEvery},
	} {
		if got := nextWait(tt.last, tt.err); got != tt.want {
			t.Errorf("%s: got %v, want %v", name, got, tt.want)
		}
	}
}
