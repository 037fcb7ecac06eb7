package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	egressv1 "github.com/gaia-go/gaia/proto/gaia/egress/v1"
	"github.com/gaia-go/gaia/sdk/plugintest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestThePluginAnswersOverARealHandshake(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, io.MultiReader(strings.NewReader(r.Method+" by "+r.UserAgent()+": "), r.Body))
	}))
	defer server.Close()
	plugin := plugintest.Start(t, plugintest.Config(&apiv1.Config{
		UserAgent:      "test",
		MaxRequestBody: 5,
		Egress:         &egressv1.Egress{Rule: []*egressv1.Rule{{Action: egressv1.Rule_ALLOW, Addresses: []string{"loopback"}}}},
	}))
	client := apiv1.NewAPIClientPoolClient(plugin.Conn())

	response, err := client.Do(t.Context(), &apiv1.DoRequest{Method: "POST", Url: server.URL, Body: []byte("hello")})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(response.GetBody()), "POST by test: hello"; got != want || response.GetStatus() != 200 {
		t.Errorf("got %d %q, want 200 %q", response.GetStatus(), got, want)
	}
	_, err = client.Do(t.Context(), &apiv1.DoRequest{Url: server.URL, Body: []byte("hello!")})
	if got, want := status.Convert(err).Message(), "request body of 6 bytes, limit 5 (max_request_body)"; got != want {
		t.Errorf("error: got %q, want %q", got, want)
	}
	_, err = client.Do(t.Context(), &apiv1.DoRequest{Url: "http://user:secret@h/"})
	if status.Code(err) != codes.InvalidArgument || len(status.Convert(err).Details()) != 1 {
		t.Errorf("user information: got %v, want InvalidArgument with a detail", err)
	}
	faults := plugin.Configure(t, &apiv1.Config{UserAgent: "a\nb"})
	if len(faults) != 1 || faults[0].GetPath() != "user_agent" {
		t.Errorf("faults: got %v, want one at user_agent", faults)
	}
}

func TestThePluginDescribesItsAPIWithItsComments(t *testing.T) {
	plugin := plugintest.Start(t)
	if got := plugin.Description().GetServices(); len(got) != 1 || got[0] != apiv1.APIClientPool_ServiceDesc.ServiceName {
		t.Errorf("services: got %q, want %q", got, apiv1.APIClientPool_ServiceDesc.ServiceName)
	}
	if got, want := plugin.Description().GetConfigMessage(), "gaia.api.v1.Config"; got != want {
		t.Errorf("config message: got %q, want %q", got, want)
	}
	for _, file := range plugin.Description().GetFiles().GetFile() {
		if file.GetName() != "gaia/api/v1/api.proto" {
			continue
		}
		for _, location := range file.GetSourceCodeInfo().GetLocation() {
			if strings.Contains(location.GetLeadingComments(), "Do sends one request and returns the whole response") {
				return
			}
		}
	}
	t.Error("the descriptors have no comments")
}
