package trust

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"aead.dev/minisign"

	"github.com/gaia-go/gaia/host/internal/config"
)

const (
	// Suffix is what minisign adds to the name of a file for that of its signature.
	Suffix = ".minisig"
	// maxSignature bounds a signature file, in bytes; with its comments it has some 300.
	maxSignature = 16 << 10
	// maxLegacy bounds a file whose signature is not of its hash: it has to be in memory
	// as a whole.
	maxLegacy = 1 << 30
)

// checkSignature is the error if the file is not signed with one of the keys.
func (p *Policy) checkSignature(f *os.File, path, sha256 string) error {
	text, err := readSignature(path + Suffix)
	if errors.Is(err, fs.ErrNotExist) {
		return untrusted("Plugin without a signature", "%s does not exist, and host.trusted_keys wants it. Sign the file: gaia plugin sign --key FILE %s.", path+Suffix, path)
	}
	if err != nil {
		return untrusted("Signature not readable", "%v.", err)
	}
	if p.wasVerified(sha256 + string(text)) {
		return nil
	}
	var signature minisign.Signature
	if err := signature.UnmarshalText(text); err != nil {
		return untrusted("Signature not readable", "%s is no signature of minisign: %v.", path+Suffix, err)
	}
	i := slices.IndexFunc(p.keys, func(k minisign.PublicKey) bool { return k.ID() == signature.KeyID })
	if i < 0 {
		return untrusted("Signature by an unknown key", "%s is by the key %X; host.trusted_keys has %s.", path+Suffix, signature.KeyID, p.keyIDs())
	}
	ok, err := verify(f, p.keys[i], signature.Algorithm, text)
	if err != nil {
		return fmt.Errorf("verify the signature of %s: %w", path, err)
	}
	if !ok {
		return untrusted("Signature does not match", "%s is not what was signed, or the comment in %s is not: either was changed. Sign it anew if the change is yours: gaia plugin sign --key FILE %s.",
			path, path+Suffix, path)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.verified[sha256+string(text)] = true
	return nil
}

func untrusted(summary, format string, args ...any) error {
	return &config.PluginError{Summary: summary, Detail: fmt.Sprintf(format, args...)}
}

func (p *Policy) wasVerified(what string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.verified[what]
}

func (p *Policy) keyIDs() string {
	var ids []string
	for _, k := range p.keys {
		ids = append(ids, fmt.Sprintf("%X", k.ID()))
	}
	return strings.Join(ids, ", ")
}

// verify reports whether the signature, with its trusted comment, is one of the file's
// content by the key.
func verify(f *os.File, key minisign.PublicKey, algorithm uint16, signature []byte) (bool, error) {
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	content := io.NewSectionReader(f, 0, info.Size()) // its position is somebody else's
	if algorithm == minisign.HashEdDSA {
		hashed := minisign.NewReader(content)
		if _, err := io.Copy(io.Discard, hashed); err != nil {
			return false, err
		}
		return hashed.Verify(key, signature), nil
	}
	if info.Size() > maxLegacy {
		return false, fmt.Errorf("%d bytes are too many for a signature that is not of a hash, limit %d", info.Size(), maxLegacy)
	}
	message := make([]byte, info.Size())
	if _, err := io.ReadFull(content, message); err != nil {
		return false, err
	}
	return minisign.Verify(key, message, signature), nil
}

func readSignature(path string) ([]byte, error) {
	switch info, err := os.Stat(path); {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular() || info.Size() > maxSignature:
		return nil, fmt.Errorf("%s is not a file of at most %d bytes", path, maxSignature)
	}
	return os.ReadFile(path) //nolint:gosec // G304: beside a plugin
}

// Sign writes the signature of the file at path beside it, and returns its path.
// comment is signed, too; a person reads it.
func Sign(key minisign.PrivateKey, path, comment string) (string, error) {
	f, err := os.Open(path) //nolint:gosec // G304: what the operator names
	if err != nil {
		return "", err
	}
	defer f.Close()
	hashed := minisign.NewReader(f)
	if _, err := io.Copy(io.Discard, hashed); err != nil {
		return "", err
	}
	signature := hashed.SignWithComments(key, comment, fmt.Sprintf("signature from gaia plugin sign, key %X", key.ID()))
	if !strings.HasSuffix(string(signature), "\n") {
		signature = append(signature, '\n')
	}
	return path + Suffix, os.WriteFile(path+Suffix, signature, 0o644) //nolint:gosec // G306: for everybody to verify
}
