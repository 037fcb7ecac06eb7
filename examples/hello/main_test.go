package main

import (
	"testing"

	hellov1 "github.com/gaia-go/gaia/examples/hello/proto/hello/v1"
	"github.com/gaia-go/gaia/sdk/plugintest"
)

func TestThePluginGreetsAsItIsConfigured(t *testing.T) {
	plugin := plugintest.Start(t, plugintest.Config(&hellov1.Config{Greeting: "Good morning"}))
	client := hellov1.NewGreeterClient(plugin.Conn())
	response, err := client.Hello(t.Context(), &hellov1.HelloRequest{Name: "Ada"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := response.GetText(), "Good morning, Ada!"; got != want {
		t.Errorf("Hello: got %q, want %q", got, want)
	}
}

func TestAGreetingWithPercentIsRefusedAtItsField(t *testing.T) {
	plugin := plugintest.Start(t)
	faults := plugin.Configure(t, &hellov1.Config{Greeting: "100 %"})
	if len(faults) != 1 || faults[0].GetPath() != "greeting" {
		t.Errorf("got faults %v, want one at greeting", faults)
	}
}
