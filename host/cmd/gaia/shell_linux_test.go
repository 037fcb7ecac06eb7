package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// shells are those that there are completions for, and how one is told to be
// interactive with nothing but our completions, printing > when it waits.
func shells() map[string]func(dir string) *exec.Cmd {
	return map[string]func(dir string) *exec.Cmd{
		"bash": func(dir string) *exec.Cmd {
			return interactive(dir, "bash", "rc", "[ ! -f /usr/share/bash-completion/bash_completion ] || . /usr/share/bash-completion/bash_completion\n"+
				"PS1='> '; bind 'set enable-bracketed-paste off'\n. <(gaia completion bash)\n", "--noprofile", "--rcfile", "rc", "-i")
		},
		"zsh": func(dir string) *exec.Cmd {
			return interactive(dir, "zsh", ".zshrc", "PS1='> '; PROMPT_EOL_MARK=''\nautoload -U compinit; compinit -u -D\nsource <(gaia completion zsh)\n", "-i")
		},
		"fish": func(dir string) *exec.Cmd {
			return interactive(dir, "fish", "rc", "function fish_prompt; echo -n '> '; end\nset -g fish_greeting\nset -g fish_autosuggestion_enabled 0\ngaia completion fish | source\n",
				"--no-config", "--init-command", "source rc", "-i")
		},
	}
}

// interactive is a shell that starts with rc, a file that it reads in dir.
func interactive(dir, name, file, rc string, args ...string) *exec.Cmd {
	if err := os.WriteFile(filepath.Join(dir, file), []byte(rc), 0o600); err != nil {
		panic(err)
	}
	cmd := exec.Command(name, args...) //nolint:noctx // onTerminal ends it
	cmd.Dir = dir
	return cmd
}

func TestShellsCompleteCallsOfARunningHost(t *testing.T) {
	for name, start := range shells() {
		t.Run(name, func(t *testing.T) {
			needProgram(t, name)
			if _, err := os.Stat("/usr/share/bash-completion/bash_completion"); err != nil && name == "bash" {
				t.Skip("bash-completion is not here, which completions for bash need")
			}
			h := open(t, newHouse(t), shippedConfig(t))
			t.Setenv("PATH", filepath.Join(h.dir, "bin")+":"+os.Getenv("PATH"))
			t.Setenv("ZDOTDIR", h.dir)
			t.Setenv("HOME", h.dir)
			term := onTerminal(t, start(h.dir))
			term.await(t, "> ")
			for _, c := range []struct{ typed, want string }{
				{"gaia stat", "gaia status "},
				{"gaia status file_m", "gaia status file_manager"},
				{"gaia call file_m", "gaia call file_manager."},
				{"gaia call file_manager.Make", "gaia call file_manager.MakeDir"},
				{"gaia call file_manager.WriteFile opt", "gaia call file_manager.WriteFile options."},
				{"gaia call file_manager.WriteFile options.create_only=t", "options.create_only=true"},
				{"gaia call file_manager.WriteFile content=@confi", "content=@config.hcl"},
				{"gaia bench disp", "gaia bench dispatch"},
			} {
				const killLine = "\x15"
				if _, err := io.WriteString(term.file, killLine+c.typed+"\t"); err != nil {
					t.Fatal(err)
				}
				term.await(t, c.want)
			}
		})
	}
}
