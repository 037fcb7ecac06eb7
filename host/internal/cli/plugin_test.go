package cli

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

func TestHalfAPairOfKeysIsNotLeftBehind(t *testing.T) {
	name := filepath.Join(t.TempDir(), "release")
	if err := os.WriteFile(name+".pub", []byte("somebody's"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &command{Env: Env{Stdout: io.Discard}}
	if err := c.pluginKeygen(name, true); err == nil {
		t.Error("it wrote over a key")
	}
	if err := os.Remove(name + ".pub"); err != nil {
		t.Fatal(err)
	}
	if err := c.pluginKeygen(name, true); err != nil {
		t.Errorf("another try: %v", err)
	}
}

func TestAFileIsCompletedWhateverElseIsInItsFolder(t *testing.T) {
	dir := t.TempDir()
	for i := range maxFileWords + 1 {
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "request"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	words, _ := fileWords("body=@", dir+"/re")
	if want := "body=@" + dir + "/request"; len(words) != 1 || words[0] != want {
		t.Errorf("got %d words %.3q, want %q", len(words), words, want)
	}
	if all, _ := fileWords("body=@", dir+"/"); len(all) != maxFileWords {
		t.Errorf("got %d words of all", len(all))
	}
}
