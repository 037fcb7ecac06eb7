package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// maxDNS is more than any message here has bytes.
const maxDNS = 1500

// nameServer answers every question for an address with the same one.
type nameServer struct {
	conn    net.PacketConn
	address string
	asked   atomic.Int64
	ended   sync.WaitGroup
}

func newNameServer(ctx context.Context) (*nameServer, error) {
	conn, err := new(net.ListenConfig).ListenPacket(ctx, "udp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &nameServer{conn: conn, address: conn.LocalAddr().String()}
	s.ended.Go(s.serve)
	return s, nil
}

func (s *nameServer) close() error {
	err := s.conn.Close()
	s.ended.Wait()
	return err
}

func (s *nameServer) serve() {
	buffer := make([]byte, maxDNS)
	for {
		n, from, err := s.conn.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		var query dnsmessage.Message
		if err != nil || query.Unpack(buffer[:n]) != nil {
			continue
		}
		s.asked.Add(1)
		answer := dnsmessage.Message{
			Header:    dnsmessage.Header{ID: query.ID, Response: true, RecursionDesired: query.RecursionDesired, RecursionAvailable: true},
			Questions: query.Questions,
		}
		for _, q := range query.Questions {
			if q.Type == dnsmessage.TypeA {
				answer.Answers = append(answer.Answers, dnsmessage.Resource{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: dnsTTL},
					Body:   &dnsmessage.AResource{A: [4]byte{198, 41, 0, 4}}, // a public address: no rule is against it
				})
			}
		}
		if packed, err := answer.Pack(); err == nil {
			_, _ = s.conn.WriteTo(packed, from) // who asks again is answered again
		}
	}
}

// asker asks for names by one socket, so many at once.
type asker struct {
	conn    net.Conn
	queries [][]byte
	next    int
	answers int
	lost    int
}

func newAsker(ctx context.Context, address string, first int) (*asker, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "udp", address)
	if err != nil {
		return nil, err
	}
	a := &asker{conn: conn, next: first}
	for i := range dnsNames {
		name, err := dnsmessage.NewName(fmt.Sprintf("name-%d.example.com.", i))
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		query := dnsmessage.Message{
			Header:    dnsmessage.Header{RecursionDesired: true},
			Questions: []dnsmessage.Question{{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
		}
		packed, err := query.Pack()
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		a.queries = append(a.queries, packed)
	}
	return a, nil
}

func (a *asker) close() error { return a.conn.Close() }

// dnsPatience is how long an answer may take until it counts as lost.
const dnsPatience = 250 * time.Millisecond

// run keeps dnsAtOnce queries unanswered until the time is over.
func (a *asker) run(began time.Time, length time.Duration) error {
	buffer := make([]byte, maxDNS)
	for open := 0; ; open = max(0, open-1) {
		over := time.Since(began) >= length
		for ; open < dnsAtOnce && !over; open++ {
			if err := a.ask(); err != nil {
				return err
			}
		}
		if open == 0 {
			return nil
		}
		err := a.answered(buffer)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			a.lost += open
			open = 0
		} else if err != nil {
			return err
		}
	}
}

// ask sends the query for the next name, whose number is its id.
func (a *asker) ask() error {
	query := a.queries[a.next]
	binary.BigEndian.PutUint16(query, uint16(a.next)) //nolint:gosec // G115: below dnsNames
	a.next = (a.next + 1) % len(a.queries)
	_, err := a.conn.Write(query)
	return err
}

// answered takes one answer, and looks at it.
func (a *asker) answered(buffer []byte) error {
	if err := a.conn.SetReadDeadline(time.Now().Add(dnsPatience)); err != nil {
		return err
	}
	n, err := a.conn.Read(buffer)
	if err != nil {
		return err
	}
	var parser dnsmessage.Parser
	header, err := parser.Start(buffer[:n])
	if err != nil || int(header.ID) >= len(a.queries) || header.RCode != dnsmessage.RCodeSuccess || binary.BigEndian.Uint16(buffer[6:]) != 1 {
		return fmt.Errorf("got no address but %d bytes, id %d, %v", n, header.ID, header.RCode)
	}
	a.answers++
	return nil
}
