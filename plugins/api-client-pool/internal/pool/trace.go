package pool

import (
	"net/http"
	"time"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/call"
	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

// trace is what is known of a call for its errors, timing and metrics.
type trace struct {
	call    *call.Call
	begun   time.Time
	method  string
	target  string     // address of the first server, until there is an exchange
	failed  call.Phase // where it ended without a response
	limited bool       // it ended because a pause or a rate left no time
}

func newTrace() *trace {
	return &trace{call: &call.Call{}, begun: time.Now()}
}

// begin notes what is about to be sent, and for whom.
func (t *trace) begin(request *http.Request, c *call.Call) {
	t.call = c
	t.method = request.Method
	t.target = request.URL.Host
}

// where returns the phase and the server's address of the last exchange.
func (t *trace) where() (call.Phase, string) {
	if e := t.call.Exchange(); e != nil {
		return e.Where()
	}
	return call.Waiting, t.target
}

// write puts the times, and whether the connection was warm, into answer. The
// response has been read by now.
func (t *trace) write(answer *apiv1.DoResponse) {
	times := t.call.Exchange().Times()
	answer.ReusedConnection = times.Reused
	answer.Timing = t.timing(times)
}

// timing is where the time went until now.
func (t *trace) timing(times call.Times) *apiv1.Timing {
	return &apiv1.Timing{
		Dns:       happened(times.DNS),
		Connect:   happened(times.Connect),
		Tls:       happened(times.TLS),
		FirstByte: happened(times.FirstByte),
		Total:     durationpb.New(time.Since(t.begun)),
	}
}

// happened is nil for a phase that did not happen.
func happened(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}
