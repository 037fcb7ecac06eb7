// Package link is the batched transport of gaia: unary calls between two
// processes of one machine, at a few microseconds each.
//
// Both ends put their frames into a queue; while one write is under way, more
// frames gather, and all of them go out in the next. That saves most of what a
// call costs on gRPC, which is system calls, wake-ups and HTTP/2's bookkeeping.
// Conn is a grpc.ClientConnInterface and Server a grpc.ServiceRegistrar, so
// generated code works unchanged. The protocol is in docs/protocol.md.
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
// # What is bounded
//
// On each connection: a frame, the message of a request (MaxPayload) and of an
// answer (MaxAnswer), metadata (MaxMetadata), the methods and their names; how many
// calls are in flight and how many bytes they have, beyond which Invoke waits and
// Start returns ErrFull; how much of an answer comes before the client has asked
// for more. A client that does not read its answers makes no calls: from a
// mebibyte on nothing more is read from it. A peer that goes beyond a bound, or
// lets 256 MiB wait, is cut off, and nobody else notices.
//
// Not bounded are how many goroutines run handlers that block (as many as there
// are calls in flight, at most) and what handlers keep in memory themselves.
//
// # What differs from gRPC
//
//   - Streams, requests over MaxPayload, metadata of a request over MaxMetadata and
//     call options that the link does not know (PerRPCCredentials, ForceCodec,
//     CallContentSubtype …) are not begun: the error matches ErrUnsuitable. Package
//     client then uses gRPC.
//   - Compression, WaitForReady and StaticMethod are ignored.
//   - An answer may have MaxAnswer without an option; on gRPC it is 4 MiB.
//   - The header comes with the answer, also after grpc.SendHeader. Header and
//     trailer over MaxMetadata make the answer ResourceExhausted.
//   - A status over MaxPayload is shortened and loses its details.
//   - A call that was cancelled counts until its handler has returned.
//   - Handlers find no ":authority", "content-type" and "user-agent" in the
//     metadata, and no AuthInfo in the peer.
//   - There are no interceptors of clients, no stats handlers and no keepalive; a
//     server has one interceptor, for registered methods. A peer that hangs is
//     found by deadlines.
//   - With ServerOptions.IsNonBlocking a handler may run on the reader, where it
//     delays all other calls of the connection.
package link
