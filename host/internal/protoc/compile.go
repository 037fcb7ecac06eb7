// Package protoc turns a plugin's .proto files into descriptors and Go, with
// nothing installed but Go: the compiler is linked in, and so are the files that
// every plugin imports.
package protoc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"github.com/bufbuild/protocompile/protoutil"
	"github.com/bufbuild/protocompile/reporter"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	_ "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate" // to be imported by plugins
	_ "github.com/gaia-go/gaia/proto/gaia/options/v1"                           // likewise
)

// Compiled are the .proto files of one folder.
type Compiled struct {
	// Own are the paths of the folder's files relative to it, sorted.
	Own []string
	// Set has these files with source info, and all that they import without,
	// dependencies first.
	Set *descriptorpb.FileDescriptorSet
}

// maxFaults are more than anybody mends at once; a file that is no text has thousands.
const maxFaults = 20

// Compile compiles every .proto file below root, which is also where imports are
// looked for. Besides, they may import google/protobuf, buf/validate and
// gaia/options. The first maxFaults faults are reported, each as file:line:column.
func Compile(ctx context.Context, root string) (*Compiled, error) {
	own, err := protoFiles(root)
	if err != nil {
		return nil, err
	}
	var faults []error
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(protocompile.CompositeResolver{
			protocompile.ResolverFunc(linkedIn),
			&protocompile.SourceResolver{ImportPaths: []string{root}},
		}),
		SourceInfoMode: protocompile.SourceInfoStandard,
		Reporter: reporter.NewReporter(func(fault reporter.ErrorWithPos) error {
			faults = append(faults, placed(root, fault))
			return nil // go on, for more
		}, nil),
	}
	files, err := compiler.Compile(ctx, own...)
	if fault, ok := errors.AsType[reporter.ErrorWithPos](err); ok { // an import that is not found goes another way
		faults = append(faults, placed(root, fault))
	}
	if more := len(faults) - maxFaults; more > 0 {
		faults = append(faults[:maxFaults], fmt.Errorf("and %d more faults", more))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	if err != nil {
		return nil, err
	}
	return &Compiled{Own: own, Set: set(files)}, nil
}

// placed is a fault with the path of its file as the user knows it.
func placed(root string, fault reporter.ErrorWithPos) error {
	p := fault.GetPosition()
	return fmt.Errorf("%s:%d:%d: %w", filepath.Join(root, p.Filename), p.Line, p.Col, fault.Unwrap())
}

// linkedIn finds the files whose Go is part of this program. A copy in the
// plugin's folder gives way: the host knows one version of the options.
func linkedIn(path string) (protocompile.SearchResult, error) {
	if !strings.HasPrefix(path, "buf/validate/") && !strings.HasPrefix(path, "gaia/options/") {
		return protocompile.SearchResult{}, protoregistry.NotFound
	}
	file, err := protoregistry.GlobalFiles.FindFileByPath(path)
	return protocompile.SearchResult{Desc: file}, err
}

// protoFiles returns the paths of all .proto files below root, sorted, but for
// those that are linked in.
func protoFiles(root string) ([]string, error) {
	var paths []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".proto" {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		relative = filepath.ToSlash(relative)
		if _, err := linkedIn(relative); err != nil {
			paths = append(paths, relative)
		}
		return nil
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no folder %s; a plugin's .proto files are in it, such as %s", root, filepath.Join(root, "hello/v1/hello.proto"))
	case err != nil:
		return nil, err
	case len(paths) == 0:
		return nil, fmt.Errorf("no .proto file below %s", root)
	}
	slices.Sort(paths)
	return paths, nil
}

// set collects the files and what they import, dependencies first.
func set(files linker.Files) *descriptorpb.FileDescriptorSet {
	all := &descriptorpb.FileDescriptorSet{}
	seen := make(map[string]bool)
	var add func(protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if seen[file.Path()] {
			return
		}
		seen[file.Path()] = true
		for i := range file.Imports().Len() {
			add(file.Imports().Get(i).FileDescriptor)
		}
		all.File = append(all.File, protoutil.ProtoFromFileDescriptor(file))
	}
	for _, file := range files {
		add(file)
	}
	return all
}
