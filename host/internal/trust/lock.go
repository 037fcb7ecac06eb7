package trust

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"github.com/gaia-go/gaia/host/internal/config"
)

// Lock is a lock file: the plugins that a host may execute.
type Lock struct {
	Path    string
	Plugins []Plugin // sorted by file
}

// Plugin is one plugin of a lock file.
type Plugin struct {
	File    string `hcl:"file,label"`       // in plugin_dir
	Name    string `hcl:"name,optional"`    // that it says it has
	Version string `hcl:"version,optional"` // that it says it has; "" for none
	SHA256  string `hcl:"sha256"`           // of the file, in lower-case hexadecimal
}

// maxLock bounds what is read of a lock file, in bytes.
const maxLock = 1 << 20

// ReadLock reads a lock file; it is nil when there is none. A link that leads nowhere is an
// error: somebody wants a lock.
func ReadLock(path string) (*Lock, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	switch info, err := os.Stat(path); {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular() || info.Size() > maxLock:
		return nil, fmt.Errorf("%s is not a file of at most %d bytes", path, maxLock)
	}
	file, diags := hclparse.NewParser().ParseHCLFile(path)
	content := struct {
		Plugins []Plugin `hcl:"plugin,block"`
	}{}
	if !diags.HasErrors() {
		diags = gohcl.DecodeBody(file.Body, nil, &content)
	}
	if diags.HasErrors() {
		return nil, errors.New(diags.Error())
	}
	l := &Lock{Path: path, Plugins: content.Plugins}
	l.sort()
	for i, p := range l.Plugins {
		switch {
		case !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(p.SHA256):
			return nil, fmt.Errorf("%s: sha256 of %q is %q, want 64 hexadecimal digits", path, p.File, p.SHA256)
		case i > 0 && l.Plugins[i-1].File == p.File:
			return nil, fmt.Errorf("%s: %q is in it twice", path, p.File)
		}
	}
	return l, nil
}

func (l *Lock) sort() {
	slices.SortFunc(l.Plugins, func(a, b Plugin) int { return cmp.Compare(a.File, b.File) })
}

// Find returns the plugin of a file name.
func (l *Lock) Find(file string) (Plugin, bool) {
	if l == nil {
		return Plugin{}, false
	}
	i := slices.IndexFunc(l.Plugins, func(p Plugin) bool { return p.File == file })
	if i < 0 {
		return Plugin{}, false
	}
	return l.Plugins[i], true
}

// check is the error if a file is not what the lock file says.
func (l *Lock) check(path, sha256 string) error {
	want, ok := l.Find(filepath.Base(path))
	switch {
	case !ok:
		return &config.PluginError{Summary: "Plugin not in the lock file", Detail: fmt.Sprintf(
			"%s has no plugin %q; %s has sha256 %s. If it is to be trusted: gaia plugin lock, and gaia reload if a host runs.",
			l.Path, filepath.Base(path), path, sha256)}
	case want.SHA256 != sha256:
		return &config.PluginError{Summary: "Plugin is not the locked one", Detail: fmt.Sprintf(
			"%s has sha256 %s, and %s wants %s. If the change is wanted: gaia plugin lock, and gaia reload if a host runs.",
			path, sha256, l.Path, want)}
	}
	return nil
}

// String is the checksum with the version that it belongs to.
func (p Plugin) String() string {
	if p.Version == "" {
		return p.SHA256
	}
	return fmt.Sprintf("%s (%s)", p.SHA256, p.Version)
}

// Text is the lock file as it is written: the same for the same plugins.
func (l *Lock) Text() []byte {
	l.sort()
	file := hclwrite.NewEmptyFile()
	file.Body().AppendUnstructuredTokens(hclwrite.Tokens{{Bytes: []byte(
		"# The plugins that a host of this directory's config may run. Written by `gaia plugin lock`;\n" +
			"# it belongs beside the config, in version control.\n")}})
	for _, p := range l.Plugins {
		file.Body().AppendNewline()
		body := file.Body().AppendNewBlock("plugin", []string{p.File}).Body()
		body.SetAttributeValue("name", cty.StringVal(p.Name))
		if p.Version != "" {
			body.SetAttributeValue("version", cty.StringVal(p.Version))
		}
		body.SetAttributeValue("sha256", cty.StringVal(p.SHA256))
	}
	return hclwrite.Format(file.Bytes())
}

// Write replaces the file at Path as a whole.
func (l *Lock) Write() error {
	temp, err := os.CreateTemp(filepath.Dir(l.Path), ".gaia.lock-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) //nolint:errcheck // it has its name by now, or the error is told
	_, err = temp.Write(l.Text())
	if err := errors.Join(err, temp.Chmod(0o644), temp.Sync(), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), l.Path)
}
