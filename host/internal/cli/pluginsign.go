package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"aead.dev/minisign"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/gaia-go/gaia/host/internal/trust"
)

func (c *command) pluginKeygenCommand() *cobra.Command {
	var noPassword bool
	cmd := &cobra.Command{
		Use:   "keygen NAME",
		Short: "Make a pair of keys to sign plugins with",
		Long: `keygen writes NAME.key, which signs and is to be kept secret, and NAME.pub, which
host { trusted_keys = [file("NAME.pub")] } trusts. They are minisign's own files. The
password of the key is asked for, or is the first line of standard input.`,
		Example: `  gaia plugin keygen release
  gaia plugin keygen --no-password ci`,
		Args:              takes(1, 1, "the NAME of the two files"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().BoolVar(&noPassword, "no-password", false, "write the key as it is; whoever reads the file can sign")
	cmd.RunE = func(_ *cobra.Command, args []string) error { return c.pluginKeygen(args[0], noPassword) }
	return cmd
}

func (c *command) pluginKeygen(name string, noPassword bool) error {
	public, private, err := minisign.GenerateKey(nil)
	if err != nil {
		return err
	}
	var secret []byte
	if noPassword {
		secret, err = private.MarshalText()
	} else {
		var password string
		if password, err = c.newPassword(); err == nil {
			secret, err = minisign.EncryptKey(password, private)
		}
	}
	if err != nil {
		return err
	}
	open, err := public.MarshalText()
	if err != nil {
		return err
	}
	if err := writeNew(name+".key", secret, 0o600); err != nil {
		return err
	}
	if err := writeNew(name+".pub", open, 0o644); err != nil {
		_ = os.Remove(name + ".key") // half a pair is of no use, and in the way of the next
		return err
	}
	_, err = fmt.Fprintf(c.Stdout, "%s.key  keep it secret: it signs\n%s.pub  key %X, for host { trusted_keys = [file(%q)] }\n",
		name, name, public.ID(), filepath.Base(name)+".pub")
	return err
}

// newPassword asks for a password, twice where somebody types it.
func (c *command) newPassword() (string, error) {
	password, err := c.password("password for the new key: ")
	if err != nil || password == "" {
		return "", passwordMissing(err)
	}
	if c.typing() == nil {
		return password, nil
	}
	again, err := c.password("once more: ")
	if err == nil && again != password {
		err = failed("the passwords differ")
	}
	return password, err
}

func passwordMissing(err error) error {
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return failed("the password is empty").hint("--no-password makes a key without one")
}

// writeNew writes a file that must not be there: a lost key cannot be brought back.
func writeNew(path string, content []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode) //nolint:gosec // G304: what the operator names
	if os.IsExist(err) {
		return failed("%s exists; name another one, or remove it", path)
	}
	if err != nil {
		return err
	}
	if _, err := f.Write(append(content, '\n')); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

func (c *command) pluginSignCommand() *cobra.Command {
	var key, comment string
	cmd := &cobra.Command{
		Use:   "sign --key FILE PLUGIN...",
		Short: "Sign plugins, so that hosts that trust the key run them",
		Long: `sign writes PLUGIN.minisig beside each PLUGIN, as minisign -S does. The password of
the key is asked for, or is the first line of standard input. The comment is signed,
too; by default it has the time and the name of the file.`,
		Example: `  gaia plugin sign --key release.key bin/plugins/gaia-api-client-pool
  gaia plugin sign --key ci.key --comment "build 17" bin/plugins/*`,
		Args: takes(1, 1<<20, "the path of a PLUGIN"),
	}
	cmd.Flags().StringVar(&key, "key", "", "`FILE` of the secret key, as gaia plugin keygen and minisign -G write it")
	cmd.Flags().StringVar(&comment, "comment", "", "a `TEXT` to sign with the file")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if key == "" {
			return usageError(cmd, "%s wants --key FILE", cmd.CommandPath())
		}
		if strings.ContainsAny(comment, "\r\n") {
			return usageError(cmd, "--comment has more than one line")
		}
		return c.pluginSign(key, comment, args)
	}
	return cmd
}

func (c *command) pluginSign(keyPath, comment string, paths []string) error {
	key, err := c.readKey(keyPath)
	if err != nil {
		return err
	}
	for _, path := range paths {
		if strings.HasSuffix(path, trust.Suffix) {
			continue // of bin/plugins/*
		}
		text := comment
		if text == "" {
			text = fmt.Sprintf("timestamp:%d\tfile:%s\thashed", time.Now().Unix(), filepath.Base(path))
		}
		signature, err := trust.Sign(key, path, text)
		if err != nil {
			return failed("sign %s: %v", path, err)
		}
		if _, err := fmt.Fprintf(c.Stdout, "%s  by the key %X\n", signature, key.ID()); err != nil {
			return err
		}
	}
	return nil
}

func (c *command) readKey(path string) (key minisign.PrivateKey, err error) {
	text, err := os.ReadFile(path) //nolint:gosec // G304: what the operator names
	if err != nil {
		return key, failed("key: %v", err)
	}
	if !minisign.IsEncrypted(text) {
		if err := key.UnmarshalText(text); err != nil {
			return key, failed("key %s: %v", path, err).hint("the secret key signs, the file of gaia plugin keygen that ends with .key")
		}
		return key, nil
	}
	password, err := c.password("password of " + path + ": ")
	if err != nil && !errors.Is(err, io.EOF) {
		return key, err
	}
	if key, err = minisign.DecryptKey(password, text); err != nil {
		return key, failed("key %s: the password is another one, or the file is damaged", path)
	}
	return key, nil
}

// typing is the terminal that somebody types at, or nil.
func (c *command) typing() *os.File {
	if f, ok := c.Stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}

// password reads one from a terminal, without showing it, or a line of standard input.
func (c *command) password(prompt string) (string, error) {
	f := c.typing()
	if f == nil {
		line, err := bufio.NewReader(io.LimitReader(c.Stdin, 4096)).ReadString('\n')
		if line != "" {
			err = nil
		}
		return strings.TrimRight(line, "\r\n"), err
	}
	if _, err := io.WriteString(c.Stderr, prompt); err != nil {
		return "", err
	}
	typed, err := term.ReadPassword(int(f.Fd()))
	_, _ = io.WriteString(c.Stderr, "\n")
	return string(typed), err
}
