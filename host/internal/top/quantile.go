package top

import "google.golang.org/protobuf/types/known/durationpb"

// edges are the upper ends of buckets, ascending.
type edges = []*durationpb.Duration

// quantile is the time in seconds that a share q of the calls took at most, as
// Prometheus' histogram_quantile reckons it: calls lie evenly within a bucket,
// and what is beyond the last edge counts as that edge. nil without a call.
func quantile(q float64, buckets []uint64, edges edges) *float64 {
	var total uint64
	for _, n := range buckets {
		total += n
	}
	if total == 0 || len(edges) == 0 {
		return nil
	}
	rank, lower, below := q*float64(total), 0.0, 0.0
	for i, edge := range edges {
		upper, within := edge.AsDuration().Seconds(), 0.0
		if i < len(buckets) {
			within = float64(buckets[i])
		}
		if within > 0 && below+within >= rank {
			return new(lower + (upper-lower)*(rank-below)/within)
		}
		lower, below = upper, below+within
	}
	return new(lower)
}

// bucketsSince is what was counted after an earlier reading.
func bucketsSince(now, before []uint64) []uint64 {
	since := make([]uint64, len(now))
	for i, n := range now {
		if i < len(before) {
			n = grown(n, before[i])
		}
		since[i] = n
	}
	return since
}

// bucketsSum adds b to a, which it may change.
func bucketsSum(a, b []uint64) []uint64 {
	for len(a) < len(b) {
		a = append(a, 0)
	}
	for i, n := range b {
		a[i] += n
	}
	return a
}
