package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"github.com/gaia-go/gaia/sdk/plugintest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestThePluginWritesAndReadsOverARealHandshake(t *testing.T) {
	dir := t.TempDir()
	plugin := plugintest.Start(t, plugintest.Config(&filev1.Config{Root: map[string]*filev1.Root{
		"workspace": {Path: dir, Mode: filev1.Mode_RW},
	}}))
	client := filev1.NewFileManagerClient(plugin.Conn())
	// F1 of the system that this one descends from: a write over a file left it empty.
	for _, content := range []string{"old content", "new content"} {
		_, err := client.WriteFile(t.Context(), &filev1.WriteFileRequest{Root: "workspace", Path: "a.txt", Content: []byte(content)})
		if err != nil {
			t.Fatal(err)
		}
		got, err := client.ReadFile(t.Context(), &filev1.ReadFileRequest{Root: "workspace", Path: "a.txt"})
		if err != nil || string(got.GetContent()) != content {
			t.Errorf("ReadFile: got %q, %v, want %q", got.GetContent(), err, content)
		}
		if onDisk, err := os.ReadFile(filepath.Join(dir, "a.txt")); err != nil || string(onDisk) != content {
			t.Errorf("on disk: got %q, %v, want %q", onDisk, err, content)
		}
	}
	_, err := client.ReadFile(t.Context(), &filev1.ReadFileRequest{Root: "workspace", Path: "../a.txt"})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("..: got %v, want InvalidArgument", err)
	}
	faults := plugin.Configure(t, &filev1.Config{Root: map[string]*filev1.Root{"w": {Path: "/dev/null"}}})
	if len(faults) != 1 || faults[0].GetPath() != `root["w"].path` {
		t.Errorf("faults: got %v, want one at root[\"w\"].path", faults)
	}
}

func TestThePluginDescribesItsAPIWithItsComments(t *testing.T) {
	plugin := plugintest.Start(t)
	if got := plugin.Description().GetServices(); len(got) != 1 || got[0] != filev1.FileManager_ServiceDesc.ServiceName {
		t.Errorf("services: got %q, want %q", got, filev1.FileManager_ServiceDesc.ServiceName)
	}
	if got, want := plugin.Description().GetConfigMessage(), "gaia.file.v1.Config"; got != want {
		t.Errorf("config message: got %q, want %q", got, want)
	}
	for _, file := range plugin.Description().GetFiles().GetFile() {
		if file.GetName() != "gaia/file/v1/file.proto" {
			continue
		}
		for _, location := range file.GetSourceCodeInfo().GetLocation() {
			if strings.Contains(location.GetLeadingComments(), "A write is all or nothing") {
				return
			}
		}
	}
	t.Error("the descriptors have no comments")
}
