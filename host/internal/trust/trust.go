// Package trust says which plugin files may be executed: those that the lock file
// beside the config has the checksum of, and those that were signed with a key that
// the config trusts.
package trust

import (
	"os"
	"path/filepath"
	"strings"
	"sync"

	"aead.dev/minisign"

	"github.com/gaia-go/gaia/host/internal/config"
)

// Policy is what a plugin file has to be. A nil Policy trusts every file. Safe for
// concurrent use.
type Policy struct {
	lock *Lock // nil: any content will do
	keys []minisign.PublicKey

	mu       sync.Mutex
	verified map[string]bool // by checksum and signature: hashing once more takes longer than a start
}

// Open returns the policy of a config: its lock file, if there is one, and the keys that
// it trusts. The report has what is wrong with the lock file, and is never nil.
func Open(configPath string, h config.Host) (*Policy, *config.Report) {
	lock, err := ReadLock(LockPath(configPath))
	report := &config.Report{}
	if err != nil {
		report = config.FaultWithoutPlace("Lock file not usable", strings.TrimSuffix(err.Error(), ".")+". Write it anew with gaia plugin lock, or remove it to run any plugin.")
	}
	p := Signed(h)
	p.lock = lock
	return p, report
}

// Signed is the policy of a config without its lock file.
func Signed(h config.Host) *Policy {
	p := &Policy{verified: make(map[string]bool)}
	for _, text := range h.TrustedKeys {
		var key minisign.PublicKey
		if err := key.UnmarshalText([]byte(text)); err == nil { // the config has checked it
			p.keys = append(p.keys, key)
		}
	}
	return p
}

// Restricts reports whether there is anything that a file has to be.
func (p *Policy) Restricts() bool { return p != nil && (p.lock != nil || len(p.keys) > 0) }

// Check is the error if a file must not be executed: a *config.PluginError. f is the
// opened file at path, and sha256 the checksum of its content.
func (p *Policy) Check(f *os.File, path, sha256 string) error {
	if p == nil {
		return nil
	}
	if p.lock != nil {
		if err := p.lock.check(path, sha256); err != nil {
			return err
		}
	}
	if len(p.keys) > 0 {
		return p.checkSignature(f, path, sha256)
	}
	return nil
}

// LockPath is where the lock file of a config is.
func LockPath(configPath string) string {
	return filepath.Join(filepath.Dir(configPath), "gaia.lock.hcl")
}
