package cache

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"google.golang.org/protobuf/proto"
)

// saltFile has random bytes, so that what is known of a profile's secrets from
// the names and contents of the files cannot be compared with guesses elsewhere.
const saltFile = "salt"

// partition tells profiles of one name apart by what the config says of them, as
// far as a directory outlives the config.
func partition(root *os.Root, profiles map[string]*apiv1.Profile) (map[string]string, error) {
	if len(profiles) == 0 {
		return nil, nil
	}
	salt, err := readSalt(root)
	if err != nil {
		return nil, err
	}
	partitions := make(map[string]string, len(profiles))
	for name, profile := range profiles {
		config, err := proto.MarshalOptions{Deterministic: true}.Marshal(profile)
		if err != nil {
			return nil, err
		}
		hash := hmac.New(sha256.New, salt)
		hash.Write(config)
		partitions[name] = "\n" + hex.EncodeToString(hash.Sum(nil))
	}
	return partitions, nil
}

// readSalt returns the directory's, which the first process to come makes.
func readSalt(root *os.Root) ([]byte, error) {
	salt, err := root.ReadFile(saltFile)
	if err == nil && len(salt) == sha256.Size {
		return salt, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	fresh := rand.Text() + temporary
	if err := root.WriteFile(fresh, randomBytes(sha256.Size), 0o600); err != nil {
		return nil, err
	}
	defer root.Remove(fresh) //nolint:errcheck // the next start sweeps it
	if len(salt) > 0 {
		_ = root.Remove(saltFile) // torn by a loss of power
	}
	if err := root.Link(fresh, saltFile); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return root.ReadFile(saltFile)
}

func randomBytes(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.Read(data) // never fails
	return data
}
