package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// driver is a program that calls methods.
type driver struct {
	// command makes the call of a method with messages in JSON.
	command func(ctx context.Context, t *testing.T, method, messages string) *exec.Cmd
	// code is that with which the call ended, which the program tells somehow.
	code func(o outcome) (codes.Code, error)
}

// outcome is what a program has told of a call.
type outcome struct {
	code   codes.Code
	output string
	errors string
	exit   int // code of the program
}

// call runs the program. It is ended as soon as there was an answer that is
// enough; the call is fine then. enough may be nil.
func (d driver) call(t *testing.T, method, messages string, enough func(answer any) bool) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := d.command(ctx, t, method, messages)
	var said bytes.Buffer
	cmd.Stderr = &said
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var output bytes.Buffer
	isEnough := false
	answers := json.NewDecoder(io.TeeReader(stdout, &output))
	for {
		var answer any
		if answers.Decode(&answer) != nil {
			break
		}
		if enough != nil && enough(answer) {
			isEnough = true
			_ = cmd.Process.Kill() // it may have ended
		}
	}
	_, _ = io.Copy(&output, stdout)
	_ = cmd.Wait() // its exit code says more
	if isEnough {
		return outcome{code: codes.OK, output: output.String()}
	}
	o := outcome{output: strings.TrimSpace(output.String()), errors: strings.TrimSpace(said.String()), exit: cmd.ProcessState.ExitCode()}
	if ctx.Err() != nil {
		o.code, o.errors = codes.DeadlineExceeded, fmt.Sprintf("not ended after %v; %s", patience, o.errors)
		return o
	}
	if o.code, err = d.code(o); err != nil {
		t.Errorf("%s: %v\n%s\n%s", cmd, err, o.output, o.errors)
	}
	return o
}

// byCurl posts JSON to the HTTP door.
func byCurl(t *testing.T, h *everyHouse) driver {
	t.Helper()
	curl := needed(t, "curl", "apt-get install curl")
	token, err := os.ReadFile(filepath.Join(h.dir, "run/token"))
	if err != nil {
		t.Fatal(err)
	}
	return driver{func(ctx context.Context, _ *testing.T, method, messages string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, curl, "--silent", "--show-error", "--no-buffer", "--json", "@-",
			"--header", "Authorization: Bearer "+strings.TrimSpace(string(token)), "--write-out", "%{stderr}%{http_code}",
			"http://"+h.table.HTTP+"/v1/"+strings.Replace(method, ".", "/", 1))
		cmd.Stdin = strings.NewReader(messages)
		return cmd
	}, curlCode}
}

// curlCode is in the body: as google.rpc.Status, or of a stream that has begun as
// the last line.
func curlCode(o outcome) (codes.Code, error) {
	if o.exit != 0 {
		return codes.Unknown, fmt.Errorf("exit code %d", o.exit)
	}
	var body struct {
		Code  codes.Code
		Error struct{ Code codes.Code }
	}
	last := o.output[strings.LastIndexByte(o.output, '\n')+1:]
	if err := json.Unmarshal([]byte(last), &body); err != nil && last != "" {
		return codes.Unknown, err
	}
	switch {
	case o.errors == "200":
		return body.Error.Code, nil
	case body.Code == codes.OK:
		return codes.Unknown, fmt.Errorf("HTTP status %s without a code", o.errors)
	default:
		return body.Code, nil
	}
}

// byGrpcurl calls over the socket, with what reflection tells.
func byGrpcurl(t *testing.T, h *everyHouse) driver {
	t.Helper()
	grpcurl := needed(t, "grpcurl", "make tools")
	return driver{func(ctx context.Context, _ *testing.T, method, messages string) *exec.Cmd {
		subsystem, name, _ := strings.Cut(method, ".")
		cmd := exec.CommandContext(ctx, grpcurl, "-plaintext", "-unix", "-d", "@",
			h.table.Socket, string(subsystems()[subsystem])+"/"+name)
		cmd.Stdin = strings.NewReader(messages)
		return cmd
	}, grpcurlCode}
}

// grpcurlCode is the exit code of the program, above 64. Requests that fit no
// message it does not send.
func grpcurlCode(o outcome) (codes.Code, error) {
	switch {
	case o.exit == 0:
		return codes.OK, nil
	case o.exit > 64:
		return codes.Code(o.exit - 64), nil
	case strings.Contains(o.errors, "error getting request data"):
		return codes.InvalidArgument, nil
	default:
		return codes.Unknown, fmt.Errorf("exit code %d", o.exit)
	}
}

// byGaiaCall calls with field=value, and streams with JSON.
func byGaiaCall(_ *testing.T, h *everyHouse) driver {
	gaia := filepath.Join(h.dir, "bin/gaia")
	return driver{func(ctx context.Context, t *testing.T, method, messages string) *exec.Cmd {
		t.Helper()
		subsystem, name, _ := strings.Cut(method, ".")
		m := serviceOf(t, subsystem).Methods().ByName(protoreflect.Name(name))
		args := []string{"call", method}
		if m.IsStreamingClient() {
			args = append(args, "--json", "-")
		} else {
			args = append(args, arguments(t, m.Input(), "", parse(t, messages).(map[string]any))...)
		}
		cmd := exec.CommandContext(ctx, gaia, args...)
		cmd.Dir, cmd.Stdin = h.dir, strings.NewReader(messages)
		return cmd
	}, gaiaCode}
}

// arguments are an object as field=value.
func arguments(t *testing.T, m protoreflect.MessageDescriptor, prefix string, object map[string]any) (args []string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(object)) {
		field, isBytes := m.Fields().ByJSONName(name), false
		if field != nil {
			isBytes = field.Kind() == protoreflect.BytesKind
		}
		key := prefix + name
		switch value := object[name].(type) {
		case []any:
			for _, element := range value {
				args = append(args, key+"="+argument(t, element, isBytes))
			}
		case map[string]any:
			args = append(args, arguments(t, field.Message(), key+".", value)...)
		default:
			args = append(args, key+"="+argument(t, value, isBytes))
		}
	}
	return args
}

func argument(t *testing.T, value any, isBytes bool) string {
	t.Helper()
	text, isText := value.(string)
	if !isText {
		raw, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	if isBytes {
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		text = string(raw)
	}
	return text
}

// gaiaCode is at the end of the first line of the error. Requests that fit no
// message gaia does not send.
func gaiaCode(o outcome) (codes.Code, error) {
	if o.exit == 0 {
		return codes.OK, nil
	}
	line, _, _ := strings.Cut(o.errors, "\n")
	if found := regexp.MustCompile(`\((\w+)\)$`).FindStringSubmatch(line); found != nil && o.exit == 1 {
		for code := codes.OK; code <= codes.Unauthenticated; code++ {
			if code.String() == found[1] {
				return code, nil
			}
		}
	}
	if o.exit == 2 && strings.Contains(line, "has no field") {
		return codes.InvalidArgument, nil
	}
	return codes.Unknown, fmt.Errorf("exit code %d", o.exit)
}

// needed is the path of a program in .bin, where make builds tools, or elsewhere.
// Without it the test is skipped.
func needed(t *testing.T, program, remedy string) string {
	t.Helper()
	built, err := filepath.Abs(filepath.Join("../../../.bin", program))
	if err == nil {
		if _, err = os.Stat(built); err == nil {
			return built
		}
	}
	found, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed: %s", program, remedy)
	}
	return found
}
