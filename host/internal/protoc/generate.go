package protoc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

const (
	// Descriptors is the file that a plugin embeds or reads to describe itself.
	Descriptors = "descriptors.binpb"
	// Folder is where a plugin's .proto files are.
	Folder = "proto"
)

// generators are the code generators of a plugin in Go. They are run as tools of
// its own module, so that its go.mod says which versions.
func generators() []string {
	return []string{"google.golang.org/protobuf/cmd/protoc-gen-go", "google.golang.org/grpc/cmd/protoc-gen-go-grpc"}
}

// Generate compiles dir/proto and writes dir/descriptors.binpb and, where dir is
// a Go module, the Go of the messages and services beside their .proto files. It
// returns the paths of what it wrote, relative to dir. Nothing is written after
// an error.
func Generate(ctx context.Context, dir string) ([]string, error) {
	compiled, err := Compile(ctx, filepath.Join(dir, Folder))
	if err != nil {
		return nil, err
	}
	files := make(map[string][]byte)
	_, err = os.Stat(filepath.Join(dir, "go.mod"))
	isGo := err == nil
	if isGo {
		if err := generateGo(ctx, dir, compiled, files); err != nil {
			return nil, err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if files[Descriptors], err = descriptors(compiled, isGo); err != nil {
		return nil, err
	}
	var written []string
	for file, content := range files {
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o644); err != nil { //nolint:gosec // G306: source code
			return nil, err
		}
		written = append(written, file)
	}
	slices.Sort(written)
	return written, nil
}

// descriptors is the serialized set: with all imports, or without where they are
// compiled into the program.
func descriptors(c *Compiled, ownOnly bool) ([]byte, error) {
	all := c.Set
	if ownOnly {
		all = &descriptorpb.FileDescriptorSet{}
		for _, file := range c.Set.GetFile() {
			if slices.Contains(c.Own, file.GetName()) {
				all.File = append(all.File, file)
			}
		}
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(all)
}

// generateGo runs the generators and adds what they make to files.
func generateGo(ctx context.Context, dir string, c *Compiled, files map[string][]byte) error {
	request, err := proto.Marshal(&pluginpb.CodeGeneratorRequest{
		FileToGenerate: c.Own,
		Parameter:      new("paths=source_relative"),
		ProtoFile:      c.Set.GetFile(),
	})
	if err != nil {
		return err
	}
	for _, tool := range generators() {
		name := path.Base(tool)
		response, err := runTool(ctx, dir, name, request)
		if errors.Is(err, errNoTool) {
			return fmt.Errorf("go.mod of %s has no tool %s; go get -tool %s adds it", dir, name, tool)
		}
		if err != nil {
			return err
		}
		for _, file := range response.GetFile() {
			if !filepath.IsLocal(file.GetName()) {
				return fmt.Errorf("%s wants to write %q, which is outside of %s", name, file.GetName(), Folder)
			}
			files[filepath.Join(Folder, file.GetName())] = []byte(file.GetContent())
		}
	}
	return nil
}

var errNoTool = errors.New("no such tool")

// runTool runs a generator that the module in dir has as a tool; if it has not, the error
// is errNoTool.
func runTool(ctx context.Context, dir, name string, request []byte) (*pluginpb.CodeGeneratorResponse, error) {
	cmd := exec.CommandContext(ctx, "go", "tool", name) //nolint:gosec // G204: one of generators
	var stderr bytes.Buffer
	cmd.Dir, cmd.Stdin, cmd.Stderr = dir, bytes.NewReader(request), &stderr
	// The module stands for itself, whatever workspace it lies in.
	cmd.Env = append(os.Environ(), "GOWORK=off")
	output, err := cmd.Output()
	if err != nil {
		if strings.Contains(stderr.String(), "no such tool") {
			return nil, errNoTool
		}
		return nil, fmt.Errorf("go tool %s: %w: %s", name, err, strings.TrimSpace(stderr.String()))
	}
	response := new(pluginpb.CodeGeneratorResponse)
	if err := proto.Unmarshal(output, response); err != nil {
		return nil, fmt.Errorf("go tool %s: its answer is none: %w", name, err)
	}
	if response.GetError() != "" {
		return nil, fmt.Errorf("go tool %s: %s", name, response.GetError())
	}
	return response, nil
}
