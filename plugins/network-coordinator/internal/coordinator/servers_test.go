package coordinator

import (
	"net"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"golang.org/x/net/dns/dnsmessage"
)

// nameServer answers for every name but those that begin with "none", and says
// what it is asked.
func nameServer(t *testing.T, asked chan<- string) string {
	t.Helper()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		packet := make([]byte, 1500)
		for {
			n, from, err := socket.ReadFrom(packet)
			if err != nil {
				return
			}
			var message dnsmessage.Message
			if message.Unpack(packet[:n]) != nil {
				continue
			}
			q := message.Questions[0]
			asked <- q.Name.String()
			message.Response, message.RecursionAvailable = true, true
			message.Additionals = nil
			switch {
			case strings.HasPrefix(strings.ToLower(q.Name.String()), "none"):
				message.RCode = dnsmessage.RCodeNameError
			case q.Type == dnsmessage.TypeA:
				message.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 60},
					Body:   &dnsmessage.AResource{A: [4]byte{192, 0, 2, 7}},
				}}
			}
			reply, err := message.Pack()
			if err == nil {
				_, _ = socket.WriteTo(reply, from)
			}
		}
	}()
	t.Cleanup(func() {
		socket.Close()
		<-ended
	})
	return socket.LocalAddr().String()
}

// scrape returns the coordinator's metrics as text.
func scrape(t *testing.T, c *Coordinator) string {
	t.Helper()
	families, err := c.Metrics().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
			t.Fatal(err)
		}
	}
	return text.String()
}
