package main

import (
	"bytes"
	"testing"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
)

// BenchmarkCall is one unary call with 64 bytes: through the whole house
// (caller, host, gate, plugin), and beside it on plain go-plugin (caller,
// plugin). Compare the two of one run; the machine's speed changes from run to
// run.
func BenchmarkCall(b *testing.B) {
	body := bytes.Repeat([]byte("x"), 64)
	call := func(b *testing.B, client apiv1.APIClientPoolClient) {
		b.Helper()
		r, err := client.Do(b.Context(), &apiv1.DoRequest{Body: body})
		if err != nil || !bytes.Equal(r.GetBody(), body) {
			b.Fatalf("got %v and %v", r, err)
		}
	}
	run := func(name string, client apiv1.APIClientPoolClient) {
		b.Run(name+"/callers=1", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				call(b, client)
			}
		})
		b.Run(name+"/callers=64", func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(32) // × GOMAXPROCS, which is 2 where this is measured
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					call(b, client)
				}
			})
		})
	}
	run("house", open(b, newHouse(b), fleetConfig("", "echo"), "echo").api())
	run("plain-go-plugin", apiv1.NewAPIClientPoolClient(startPlain(b, "fleet-plain")))
}
