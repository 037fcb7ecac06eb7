// Package link is the batched transport of gaia: unary calls between two
// processes of one machine, at a few microseconds each.
//
// Both ends put their frames into a queue; while one write is under way, more
// frames gather, and all of them go out in the next. That saves most of what a
// call costs on gRPC, which is system calls, wake-ups and HTTP/2's bookkeeping.
// Conn is a grpc.ClientConnInterface and Server a grpc.ServiceRegistrar, so
// generated code works unchanged, with the semantics of gRPC. Streams and
// requests over MaxPayload go over gRPC; package client does that by itself.
//
// The way of a call: Conn.Invoke encodes it and starts it (conn.go), the outbox
// writes it (outbox.go), the server's session reads it (session.go) and hands it
// to the author's handler (handler.go), whose answer goes back the same way.
//
// A host forwards calls without decoding them. It is a Handler on the one side
// and a Receiver on the other, both of which run on a connection's reader and
// must not block; a Batch holds back writes until all frames of a read are
// handled.
//
// The protocol is in docs/protocol.md.
package link
