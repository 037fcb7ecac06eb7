package supervisor

// State is where a subsystem is in its life.
type State int

// The states. The numbers are those of gaia.host.v1.State.
const (
	Starting    State = iota + 1 // an instance was started and is not ready yet
	Ready                        // calls are forwarded
	Draining                     // the host is stopping; calls in flight may end
	Stopped                      // all has ended, as the host was asked to
	Backoff                      // the instance has ended; the next start is scheduled
	Quarantined                  // it has ended too often; started on trial at long intervals
	Failed                       // it cannot be started until the operator changes something
)

// String is the word that people read.
func (s State) String() string {
	words := [...]string{
		Starting: "starting", Ready: "ready", Draining: "draining", Stopped: "stopped",
		Backoff: "backoff", Quarantined: "quarantined", Failed: "failed",
	}
	if s < Starting || int(s) >= len(words) {
		return "unknown"
	}
	return words[s]
}
