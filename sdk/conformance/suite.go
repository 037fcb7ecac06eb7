package conformance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
	"github.com/gaia-go/gaia/sdk/wire"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

const (
	// answerTime is how long a plugin may take to answer the host's questions.
	answerTime = 10 * time.Second
	// endTime is how long a plugin may take to end; after that the host kills.
	endTime = 5 * time.Second
)

// suite is the plugin under test and what is known of it.
type suite struct {
	Options

	dir     string // of this run: sockets and temp files
	blocked error  // why no further check makes sense; a *skip
	fatal   error  // why there are no results

	description *pluginv1.DescribeResponse
	files       *protoregistry.Files
	methods     []method
	configType  protoreflect.MessageDescriptor // nil when it takes none
	config      []byte                         // what it is given

	main  *instance // serves most checks; nil until it is needed
	temps int       // how many TMPDIRs there were
}

// method is one RPC of the plugin.
type method struct {
	name     string // /package.Service/Method
	desc     protoreflect.MethodDescriptor
	harmless bool // declared NO_SIDE_EFFECTS
}

func newSuite(o Options) (*suite, error) {
	dir, err := os.MkdirTemp("", "gaia") // short: the path of a socket has to be
	if err != nil {
		return nil, err
	}
	s := &suite{Options: o, dir: dir}
	for _, d := range []string{s.sockets(), s.workDir(), s.temp()} {
		if err := os.Mkdir(d, 0o700); err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

// inNewTemp gives the instances to come a TMPDIR that none had before: those that
// were killed leave things in theirs, and may.
func (s *suite) inNewTemp() error {
	s.temps++
	return os.Mkdir(s.temp(), 0o700)
}

func (s *suite) close() {
	if s.main != nil {
		_ = s.main.Close()
	}
	_ = os.RemoveAll(s.dir)
}

func (s *suite) sockets() string { return filepath.Join(s.dir, "s") }

// temp is the TMPDIR of the plugin, so that what it leaves there is seen.
func (s *suite) temp() string { return filepath.Join(s.dir, "t"+strconv.Itoa(s.temps)) }

// workDir is where the plugin runs, so that nothing of the user's is touched. A
// config that was given may name files relative to where this process runs.
func (s *suite) workDir() string { return filepath.Join(s.dir, "w") }

func (s *suite) runsIn() string {
	if s.Config != nil {
		return ""
	}
	return s.workDir()
}

// env is what the host hands on, but for TMPDIR.
func (s *suite) env() []string {
	env := []string{"TMPDIR=" + s.temp(), wire.EnvLogLevel + "=info"}
	for _, key := range []string{"PATH", "HOME", "USER", "LANG"} {
		if value, ok := os.LookupEnv(key); ok {
			env = append(env, key+"="+value)
		}
	}
	return append(env, s.Env...)
}

// instance is a running process of the plugin.
type instance struct {
	*wire.Process

	contract pluginv1.PluginClient
}

// start runs the plugin as the host does. The caller closes the instance.
func (s *suite) start(ctx context.Context) (*instance, error) {
	if s.main != nil && s.description.GetExclusive() {
		_ = s.main.Close() // there cannot be two
		s.main = nil
	}
	process, err := wire.Start(ctx, wire.Command{
		Path: s.Binary, Env: s.env(), Dir: s.runsIn(), SocketDir: s.sockets(),
		Output: func(_ int, line []byte) {
			if s.Output != nil {
				s.Output(line)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	return &instance{Process: process, contract: pluginv1.NewPluginClient(process.Conn())}, nil
}

// configured starts an instance and gives it its config.
func (s *suite) configured(ctx context.Context) (*instance, error) {
	i, err := s.start(ctx)
	if err != nil {
		return nil, fail("another instance", err.Error(), "the plugin has been started before; look for what the first instance left: a port, a lock, a file")
	}
	faults, err := i.configure(ctx, s.config)
	if err == nil && len(faults) > 0 {
		err = fail("that it takes the config that it took before", diagnosticText(faults[0]),
			"let nothing stand in the way that an instance left which was killed, such as a lock file; where two cannot run at once, say exclusive in Describe")
	}
	if err != nil {
		return nil, errors.Join(err, i.Close())
	}
	return i, nil
}

// live returns the instance that most checks share.
func (s *suite) live(ctx context.Context) (*instance, error) {
	if s.main != nil {
		return s.main, nil
	}
	var err error
	s.main, err = s.configured(ctx)
	return s.main, err
}

// stillLives says how the shared instance has ended, if it has, after a check
// that ended with err; the next check gets another one.
func (s *suite) stillLives(err error) *failure {
	if s.main == nil {
		return nil
	}
	if err != nil { // its connection may be about to end with it
		timer := time.NewTimer(100 * time.Millisecond)
		defer timer.Stop()
		select {
		case <-s.main.Exited():
		case <-timer.C:
		}
	}
	select {
	case <-s.main.Exited():
	default:
		return nil
	}
	i := s.main
	s.main = nil
	_ = i.Close()
	return &failure{"that the plugin lives on", fmt.Sprintf("its process ended: %v; its last words: %.300q", i.Exit(), i.LastWords()), "find the call that ended it: whatever a caller sends, the process lives on"}
}

func (i *instance) configure(ctx context.Context, config []byte) ([]*pluginv1.Diagnostic, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	r, err := i.contract.Configure(ctx, &pluginv1.ConfigureRequest{Config: config, Subsystem: "conformance"})
	if isUnimplemented(err) {
		return nil, nil
	}
	return r.GetDiagnostics(), err
}

// terminate sends SIGTERM and returns how the process ended.
func (i *instance) terminate(ctx context.Context) (wire.Exit, error) {
	i.Terminate()
	return i.awaitEnd(ctx, "SIGTERM")
}

func (i *instance) awaitEnd(ctx context.Context, after string) (wire.Exit, error) {
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	select {
	case <-i.Exited():
		return i.Exit(), nil
	case <-ctx.Done():
		return wire.Exit{}, fail(fmt.Sprintf("its end within %v of %s", endTime, after), "it still runs",
			"on SIGTERM: refuse new calls, let those in flight finish, cancel what remains after 3 s, and exit")
	}
}

// newRequest is an empty request of a method.
func newRequest(m method) *dynamicpb.Message { return dynamicpb.NewMessage(m.desc.Input()) }

// harmless are the methods that may be called, of those that keep says.
func (s *suite) harmless(keep func(protoreflect.MethodDescriptor) bool) []method {
	var found []method
	for _, m := range s.methods {
		if m.harmless && keep(m.desc) {
			found = append(found, m)
		}
	}
	return found
}

func isUnary(d protoreflect.MethodDescriptor) bool {
	return !d.IsStreamingClient() && !d.IsStreamingServer()
}

func isServerStream(d protoreflect.MethodDescriptor) bool {
	return d.IsStreamingServer() && !d.IsStreamingClient()
}

func isAny(protoreflect.MethodDescriptor) bool { return true }

// errNoHarmless is why a check has nothing to call.
func errNoHarmless(kind string) error {
	return skipf("it has no %s that is declared to have no side effects: option idempotency_level = NO_SIDE_EFFECTS", kind)
}

// maxFolders is how many empty folders in TMPDIR are none too many: instances may
// share one, and then nobody can say who removes it.
const maxFolders = 2

// leftovers names what processes of the plugin left in TMPDIR, at most three; ""
// when there is nothing.
func (s *suite) leftovers() string {
	var files, folders []string
	_ = filepath.WalkDir(s.temp(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == s.temp() {
			return nil //nolint:nilerr // removed meanwhile
		}
		relative, _ := filepath.Rel(s.temp(), path)
		if d.IsDir() {
			folders = append(folders, relative)
		} else {
			files = append(files, relative)
		}
		return nil
	})
	if len(folders) > maxFolders {
		files = append(files, folders...)
	}
	return strings.Join(files[:min(len(files), 3)], ", ")
}

// call makes a call over gRPC with an answer of any type.
func call(ctx context.Context, conn grpc.ClientConnInterface, m method, request proto.Message) error {
	return conn.Invoke(ctx, m.name, request, dynamicpb.NewMessage(m.desc.Output()))
}
