// Package scaffold writes new plugins: small, whole, and such that they build,
// pass their tests and run.
package scaffold

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/gaia-go/gaia/host/internal/protoc"
)

// templates has a folder for each language.
//
//go:embed templates
var templates embed.FS

// Options say which plugin to write.
type Options struct {
	// Name of the plugin; see CheckName. Required.
	Name string
	// Lang is one of Languages. Required.
	Lang string
	// Dir is the folder to write; it must not exist. Required.
	Dir string
	// Checkout of gaia whose sdk and proto the plugin is built with, absolute.
	// Optional: without it the plugin requires the release.
	Checkout string
}

// Languages are those that there are templates for.
func Languages() []string { return []string{"go", "python"} }

// Result says what was written.
type Result struct {
	Dir      string   // as in Options, cleaned
	Files    []string // below Dir, sorted
	Complete bool     // code is generated and go.sum is there; false without a checkout
}

// New writes a plugin: all of it, or nothing.
func New(ctx context.Context, o Options) (*Result, error) {
	if err := CheckName(o.Name); err != nil {
		return nil, err
	}
	o.Dir = filepath.Clean(o.Dir) // "x/" has no folder beside it
	if _, err := os.Lstat(o.Dir); err == nil {
		return nil, fmt.Errorf("%s exists; nothing was written", o.Dir)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(o.Dir), 0o755); err != nil { //nolint:gosec // G301: a folder of source code
		return nil, err
	}
	// Under another name beside it, so that the folder is there when it is whole.
	draft, err := os.MkdirTemp(filepath.Dir(o.Dir), "."+o.Name+"-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(draft) //nolint:errcheck // the error that matters is another one
	complete, err := fill(ctx, draft, o)
	if err != nil {
		return nil, err
	}
	files, err := list(draft)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(draft, 0o755); err != nil { //nolint:gosec // G302: a folder of source code
		return nil, err
	}
	if err := os.Rename(draft, o.Dir); err != nil {
		return nil, err
	}
	return &Result{Dir: o.Dir, Files: files, Complete: complete}, nil
}

// fill writes what the templates say and generates the rest, if it can.
func fill(ctx context.Context, dir string, o Options) (complete bool, err error) {
	if err := render(dir, o.Lang, newNames(o.Name, o.Checkout)); err != nil {
		return false, err
	}
	if o.Lang == "go" {
		if o.Checkout == "" {
			return false, nil // nothing to build with, yet
		}
		return true, generateGo(ctx, dir)
	}
	_, err = protoc.Generate(ctx, dir)
	return true, err
}

// generateGo completes the module: before, for the generators are tools of it, and
// after, for what the generated code imports.
func generateGo(ctx context.Context, dir string) error {
	if err := tidy(ctx, dir); err != nil {
		return err
	}
	if _, err := protoc.Generate(ctx, dir); err != nil {
		return err
	}
	return tidy(ctx, dir)
}

// render writes the files of a language's templates. In their paths, NAME, PATH
// and SUBSYSTEM stand for what they say, and a leading "dot-" for a dot.
func render(dir, lang string, n names) error {
	root := "templates/" + lang
	paths := strings.NewReplacer("PATH", n.Path, "NAME", n.Name, "SUBSYSTEM", n.Subsystem, "dot-", ".")
	return fs.WalkDir(templates, root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := content(path, n)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if bytes.HasPrefix(content, []byte("#!")) {
			mode = 0o755
		}
		target := filepath.Join(dir, paths.Replace(strings.TrimSuffix(strings.TrimPrefix(path, root+"/"), ".tmpl")))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil { //nolint:gosec // G301: a folder of source code
			return err
		}
		return os.WriteFile(target, content, mode)
	})
}

// content is a file as it is or, if it is a template, what that makes of names.
func content(path string, n names) ([]byte, error) {
	if !strings.HasSuffix(path, ".tmpl") {
		return templates.ReadFile(path)
	}
	t, err := template.ParseFS(templates, path)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, n)
	return b.Bytes(), err
}

// tidy completes go.mod and writes go.sum.
func tidy(ctx context.Context, dir string) error {
	if _, err := exec.LookPath("go"); err != nil {
		return errors.New("the go command is not installed; a plugin in Go needs it: https://go.dev/doc/install")
	}
	cmd := exec.CommandContext(ctx, "go", "mod", "tidy")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go mod tidy: %w\n%s", err, bytes.TrimSpace(output))
	}
	return nil
}

// list returns the files below dir, sorted.
func list(dir string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		relative, err := filepath.Rel(dir, path)
		files = append(files, relative)
		return err
	})
	return files, err
}
