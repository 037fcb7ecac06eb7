package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	egressv1 "github.com/gaia-go/gaia/proto/gaia/egress/v1"
	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	"github.com/gaia-go/gaia/sdk/plugintest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// freeAddress returns an address of loopback at which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func loopbackAllowed() *egressv1.Egress {
	return &egressv1.Egress{Rule: []*egressv1.Rule{{Action: egressv1.Rule_ALLOW, Addresses: []string{"loopback"}}}}
}

func TestThePluginAnswersOverARealHandshake(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("hello")) }))
	defer server.Close()
	at := freeAddress(t)
	config := &networkv1.Config{
		Listen: at, Egress: loopbackAllowed(),
		Client: map[string]*networkv1.Client{"crawler": {Token: "correct horse"}},
	}
	plugin := plugintest.Start(t, plugintest.Config(config))
	client := networkv1.NewNetworkCoordinatorClient(plugin.Conn())

	through := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: at, User: url.UserPassword("crawler", "correct horse")})}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := through.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	list, err := client.Connections(t.Context(), &networkv1.ConnectionsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if got := list.GetConnections(); len(got) != 1 || got[0].GetClient() != "crawler" || got[0].GetBy() != networkv1.Door_HTTP || got[0].GetRule() != "rule[0]" {
		t.Errorf("connections: got %v, want one of the crawler, by HTTP", got)
	}

	_, err = client.Resolve(t.Context(), &networkv1.ResolveRequest{Host: "a..b"})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("a host that is none: got %v, want InvalidArgument", err)
	}
	check, err := client.Check(t.Context(), &networkv1.CheckRequest{Host: "169.254.169.254"})
	if err != nil || check.GetAllowed() || !strings.Contains(check.GetReason(), "default") {
		t.Errorf("the metadata address: got %v, %v, want a denial by default", check, err)
	}
	faults := plugin.Configure(t, &networkv1.Config{Listen: at})
	if len(faults) != 1 || faults[0].GetPath() != "listen" {
		t.Errorf("faults: got %v, want one at listen", faults)
	}
	_, metrics := plugin.Metrics(t)
	if want := "gaia_network_connections_opened_total"; !strings.Contains(string(metrics), want) {
		t.Errorf("there is no metric %q", want)
	}
}

func TestThePluginDescribesItsAPIWithItsComments(t *testing.T) {
	plugin := plugintest.Start(t)
	if got := plugin.Description().GetServices(); len(got) != 1 || got[0] != networkv1.NetworkCoordinator_ServiceDesc.ServiceName {
		t.Errorf("services: got %q, want %q", got, networkv1.NetworkCoordinator_ServiceDesc.ServiceName)
	}
	for _, file := range plugin.Description().GetFiles().GetFile() {
		if file.GetName() != "gaia/network/v1/network.proto" {
			continue
		}
		for _, location := range file.GetSourceCodeInfo().GetLocation() {
			if strings.Contains(location.GetLeadingComments(), "Tunnel opens a TCP connection") {
				return
			}
		}
	}
	t.Error("the descriptors have no comments")
}
