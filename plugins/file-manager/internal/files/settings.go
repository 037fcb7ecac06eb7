package files

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/glob"
	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"github.com/gaia-go/gaia/sdk"
)

// settings are a root of the config with its defaults filled in. Nobody writes
// to them.
type settings struct {
	name        string
	path        string // absolute
	writable    bool
	create      bool
	quota       int64 // bytes; 0 for no bound
	maxFileSize int64 // bytes; 0 for no bound
	sync        bool  // changes are on the disk when their call returns
	trash       time.Duration
	deny        []glob.Pattern
	denyFolded  []glob.Pattern // deny in lower case, for a root in which "a" and "A" are the same file
}

// defaultMaxContent is what config.proto promises, in bytes.
const defaultMaxContent = 8 << 20

// settingsFrom reads the roots of a config, sorted by name. The error has every
// fault, by field.
func settingsFrom(config *filev1.Config) ([]settings, error) {
	var all []settings
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(config.GetRoot())) {
		s, err := rootSettings(name, config.GetRoot()[name])
		faults = append(faults, err)
		all = append(all, s)
	}
	faults = append(faults, overlaps(all))
	return all, errors.Join(faults...)
}

func rootSettings(name string, config *filev1.Root) (settings, error) {
	field := fmt.Sprintf("root[%q].", name)
	s := settings{
		name:        name,
		writable:    config.GetMode() == filev1.Mode_RW,
		create:      config.GetCreate(),
		quota:       bound(config.GetQuota()),
		maxFileSize: bound(config.GetMaxFileSize()),
		sync:        config.GetDurability() != filev1.Durability_NONE,
		trash:       config.GetTrash().AsDuration(),
	}
	var faults []error
	path, err := filepath.Abs(config.GetPath())
	switch info, statErr := os.Stat(path); {
	case config.GetPath() == "" || strings.ContainsRune(config.GetPath(), 0):
		faults = append(faults, sdk.Invalid(field+"path", "write the path of a directory"))
	case err != nil:
		faults = append(faults, sdk.Invalid(field+"path", "a relative path needs a working directory: %v", err))
	case statErr == nil && !info.IsDir():
		faults = append(faults, sdk.Invalid(field+"path", "%q is not a directory", config.GetPath()))
	}
	s.path = path
	for i, text := range config.GetDeny() {
		pattern, err := glob.Compile(text)
		if err != nil {
			faults = append(faults, sdk.Invalid(fmt.Sprintf("%sdeny[%d]", field, i), "%v", err))
		}
		folded, _ := glob.Compile(strings.ToLower(text)) // if it is not well formed, pattern is not either
		s.deny, s.denyFolded = append(s.deny, pattern), append(s.denyFolded, folded)
	}
	return s, errors.Join(faults...)
}

// bound turns bytes into a signed number, in which sums do not overflow.
func bound(bytes uint64) int64 { return int64(min(bytes, 1<<60)) }

// overlaps finds roots that are in one another: what one of them forbids, the
// other would allow.
func overlaps(all []settings) error {
	resolved := make([]string, len(all))
	for i, s := range all {
		resolved[i] = withoutLinks(s.path)
	}
	var faults []error
	for i, s := range all {
		for j, o := range all {
			inside := resolved[i] == resolved[j] && i > j || strings.HasPrefix(resolved[i], strings.TrimSuffix(resolved[j], "/")+"/")
			if i != j && inside {
				faults = append(faults, sdk.Invalid(fmt.Sprintf("root[%q].path", s.name),
					"it is in the root %q; roots lie side by side", o.name))
			}
		}
	}
	return errors.Join(faults...)
}

// withoutLinks is where an absolute path leads, of which the end need not be there
// yet.
func withoutLinks(path string) string {
	missing := ""
	for at := path; ; at = filepath.Dir(at) {
		if there, err := filepath.EvalSymlinks(at); err == nil {
			return filepath.Join(there, missing)
		}
		if at == filepath.Dir(at) {
			return path
		}
		missing = filepath.Join(filepath.Base(at), missing)
	}
}
