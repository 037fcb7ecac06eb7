//go:build !linux

package resolver

import (
	"net"
	"net/netip"
)

// batch reads and answers packets, one at a time.
type batch struct {
	conn    *net.UDPConn
	size    int
	sender  netip.AddrPort
	reply   []byte
	in, out [bufferSize]byte
}

func newBatch(conn *net.UDPConn) (*batch, error) { return &batch{conn: conn}, nil }

// read waits for a packet.
func (b *batch) read() (int, error) {
	n, from, err := b.conn.ReadFromUDPAddrPort(b.in[:])
	if err != nil {
		return 0, err
	}
	b.size, b.sender, b.reply = n, from, nil
	return 1, nil
}

func (b *batch) packet(int) []byte          { return b.in[:b.size] }
func (b *batch) from(int) netip.AddrPort    { return b.sender }
func (b *batch) room(int) []byte            { return b.out[:0] }
func (b *batch) answer(_ int, reply []byte) { b.reply = reply }

// send sends the answer, if there is one.
func (b *batch) send() {
	if len(b.reply) > 0 {
		_, _ = b.conn.WriteToUDPAddrPort(b.reply, b.sender)
	}
}
