package telemetry_test

import (
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"github.com/gaia-go/gaia/host/internal/telemetry"
)

func TestStatsAreWhatWasCounted(t *testing.T) {
	t.Parallel()
	m := telemetry.New("v1.2.3")
	busy, idle := m.Subsystem("busy", "bulkhead"), m.Subsystem("idle", "bulkhead")
	idle.Methods([]string{"/a.v1.A/Never"})
	busy.Method("/a.v1.A/Do").Observe(codes.OK, 3*time.Millisecond)
	busy.Method("/a.v1.A/Do").Observe(codes.Internal, time.Hour)
	busy.Method("/a.v1.A/Do").ObserveRejected(codes.ResourceExhausted)
	busy.Rejected("bulkhead")
	busy.Retried()
	busy.Held()

	buckets := make([]uint64, len(telemetry.Edges())+1)
	buckets[5], buckets[len(buckets)-1] = 1, 1 // up to 5ms, and beyond all edges
	want := map[string]telemetry.Stats{
		"busy": {
			Rejected: map[string]uint64{"bulkhead": 1}, Retries: 1, Held: 1,
			Methods: []telemetry.MethodStats{{Name: "a.v1.A/Do", Calls: 3, Failures: 2, Buckets: buckets}},
		},
		"idle": {Rejected: map[string]uint64{"bulkhead": 0}},
	}
	if diff := cmp.Diff(want, m.Stats()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStatsMeasureProcessTrees(t *testing.T) {
	t.Parallel()
	m := telemetry.New("v1.2.3")
	m.Subsystem("self").Bind(telemetry.Live{PID: os.Getpid})
	switch got := m.Stats()["self"]; {
	case !got.Measured:
		t.Skip("this system cannot tell what a process tree uses")
	case got.ResidentBytes < 1<<20 || got.OpenFiles == 0:
		t.Errorf("%+v, want what this process uses", got)
	}
}

func TestStatsOfClientsAreAddedUp(t *testing.T) {
	t.Parallel()
	m := telemetry.New("v1.2.3")
	c := m.Client("ada")
	m.Client("bob")
	c.Entered()
	c.Ended(codes.OK)
	c.Ended(codes.NotFound)
	c.Rejected("rate.all")
	want := []telemetry.ClientStats{{Name: "ada", Calls: 2, Rejected: 1, InFlight: 1}, {Name: "bob"}}
	if diff := cmp.Diff(want, m.ClientStats()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
