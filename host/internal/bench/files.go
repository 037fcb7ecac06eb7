package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	filesPlugin    = "gaia-file-manager"
	filesSubsystem = "files"
	filesService   = "/gaia.file.v1.FileManager/"
	filesRoot      = "bench"

	// Numbers of fields that the requests have in common, and of an answer with
	// content.
	rootField    = 1
	pathField    = 2
	contentField = 1
	writtenField = 4 // content of WriteFile

	smallFile = 4 << 10
	largeFile = 256 << 20
	crowd     = 500
)

// filesConfig is a house with one root.
const filesConfig = `
subsystem "` + filesSubsystem + `" {
  plugin = "` + filesPlugin + `"
  limits {
    concurrency = 1000
    queue       = 1000
    timeout     = "60s"
  }
  config {
    root "` + filesRoot + `" {
      path = %q
      mode = "rw"
    }
  }
}
`

// files measures the file manager: small files, a stream, and a crowd.
func files(ctx context.Context, o Options) (result *Result, err error) {
	if o.Rounds <= 0 {
		o.Rounds = dispatchRounds
	}
	if o.Round <= 0 {
		o.Round = dispatchRound
	}
	dir, err := os.MkdirTemp("", "gaia-files")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := fill(dir); err != nil {
		return nil, err
	}
	plain, err := plainPath(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("files: %w", err)
	}
	defer func() { err = errors.Join(err, plain.close()) }()
	ours, err := housePath(ctx, o, "gaia", filesSubsystem, fmt.Sprintf(filesConfig, dir), byLink)
	if err != nil {
		return nil, fmt.Errorf("files: %w", err)
	}
	defer func() { err = errors.Join(err, ours.close()) }()
	b := filesBench{Options: o, dir: dir, plain: &meter{path: plain}, ours: &meter{path: ours}}
	result = &Result{Name: "files", Machine: machine()}
	for _, measure := range []func(context.Context) (Table, error){b.small, b.stream, b.mixed} {
		table, err := measure(ctx)
		if err != nil {
			return nil, fmt.Errorf("files: %w", err)
		}
		result.Tables = append(result.Tables, table)
	}
	return result, nil
}

// filesBench is two ways to the same files.
type filesBench struct {
	Options

	dir         string
	plain, ours *meter
}

func smallName(i int) string { return "small-" + strconv.Itoa(i) }

const largeName = "large"

// fill makes the files that are read.
func fill(dir string) error {
	for i := range crowd {
		content := bytes.Repeat([]byte{byte('a' + i%26)}, smallFile)
		if err := os.WriteFile(filepath.Join(dir, smallName(i)), content, 0o600); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, largeName), make([]byte, largeFile), 0o600)
}

// small reads files of 4 KiB, each caller its own.
func (b filesBench) small(ctx context.Context) (Table, error) {
	const callers = 64
	b.progress("files: %d callers read %d B, %d rounds of %v", callers, smallFile, b.Rounds, b.Round)
	crew := func(read func(grpc.ClientConnInterface, string) func(context.Context) ([]byte, error)) func(grpc.ClientConnInterface) []*caller {
		return func(conn grpc.ClientConnInterface) []*caller {
			all := make([]*caller, callers)
			for i := range all {
				readOwn, want := read(conn, smallName(i)), bytes.Repeat([]byte{byte('a' + i%26)}, smallFile)
				all[i] = &caller{call: func(ctx context.Context) error {
					got, err := readOwn(ctx)
					if err == nil && !bytes.Equal(got, want) {
						err = fmt.Errorf("%s: got %d bytes that are not its content", smallName(i), len(got))
					}
					return err
				}}
			}
			return all
		}
	}
	rows, err := b.compete(ctx, []*meter{b.plain, b.ours}, crew(b.readPlain), crew(b.readOurs))
	return Table{Title: fmt.Sprintf("%d callers read files of %d B", callers, smallFile), Columns: filesColumns(), Rows: rows}, err
}

func filesColumns() []Column {
	return []Column{
		{Name: "calls_per_second", Head: "CALLS/S"},
		{Name: "ratio", Head: "RATIO", Digits: 2},
		{Name: "p50_us", Head: "P50", Unit: "µs"},
		{Name: "p95_us", Head: "P95", Unit: "µs"},
		{Name: "p99_us", Head: "P99", Unit: "µs"},
		{Name: "cpu_us", Head: "CPU/CALL", Unit: "µs", Digits: 1},
	}
}

// readPlain reads by a plugin that has nothing but os.ReadFile.
func (b filesBench) readPlain(conn grpc.ClientConnInterface, name string) func(context.Context) ([]byte, error) {
	request := wrapperspb.String(filepath.Join(b.dir, name))
	return func(ctx context.Context) ([]byte, error) {
		answer := new(wrapperspb.BytesValue)
		err := conn.Invoke(ctx, plainFiles+"ReadFile", request, answer, grpc.StaticMethod())
		return answer.GetValue(), err
	}
}

func (b filesBench) readOurs(conn grpc.ClientConnInterface, name string) func(context.Context) ([]byte, error) {
	request := at(name).message()
	return func(ctx context.Context) ([]byte, error) {
		answer := new(emptypb.Empty)
		err := conn.Invoke(ctx, filesService+"ReadFile", request, answer, grpc.StaticMethod())
		return field(answer, contentField), err
	}
}

// at is the fields that say which file is meant.
func at(name string) fields { return fields(nil).text(rootField, filesRoot).text(pathField, name) }

// stream reads a large file, which the system has in memory.
func (b filesBench) stream(ctx context.Context) (Table, error) {
	b.progress("files: a stream of %d MiB, %d rounds", largeFile>>20, b.Rounds)
	rounds := make([][]Figures, 2)
	for round := range b.Rounds + 1 {
		for i, m := range []*meter{b.plain, b.ours} {
			read := b.streamPlain
			if m == b.ours {
				read = b.streamOurs
			}
			figures, err := b.streamed(ctx, m.path, read)
			if err != nil {
				return Table{}, fmt.Errorf("%s: stream: %w", m.path.what, err)
			}
			if round > 0 {
				rounds[i] = append(rounds[i], figures)
			}
		}
	}
	t := Table{Title: fmt.Sprintf("a file of %d MiB as a stream", largeFile>>20), Columns: []Column{
		{Name: "mb_per_second", Head: "MB/S"},
		{Name: "ratio", Head: "RATIO", Digits: 2},
		{Name: "cpu_seconds_per_gb", Head: "CPU S/GB", Digits: 2},
	}}
	for i, m := range []*meter{b.plain, b.ours} {
		ratios(rounds[i], rounds[0], "mb_per_second")
		t.Rows = append(t.Rows, medians(m.path.what, rounds[i]))
	}
	return t, nil
}

// streamed measures one stream.
func (b filesBench) streamed(ctx context.Context, p *path, read func(context.Context, *path) (int64, error)) (Figures, error) {
	cpuBefore, known := cpuTime(p.pids)
	began := time.Now()
	n, err := read(ctx, p)
	took := time.Since(began)
	cpuAfter, stillKnown := cpuTime(p.pids)
	if err == nil && n != largeFile {
		err = fmt.Errorf("got %d bytes, want %d", n, largeFile)
	}
	if err != nil {
		return nil, err
	}
	figures := Figures{"mb_per_second": largeFile / 1e6 / took.Seconds()}
	if known && stillKnown {
		figures["cpu_seconds_per_gb"] = (cpuAfter - cpuBefore).Seconds() * 1e9 / largeFile
	}
	return figures, nil
}

func (b filesBench) streamPlain(ctx context.Context, p *path) (int64, error) {
	request := wrapperspb.String(filepath.Join(b.dir, largeName))
	return receiveAll(ctx, p, plainFiles+"Read", request, func() (any, func() int) {
		m := new(wrapperspb.BytesValue)
		return m, func() int { return len(m.GetValue()) }
	})
}

func (b filesBench) streamOurs(ctx context.Context, p *path) (int64, error) {
	return receiveAll(ctx, p, filesService+"Read", at(largeName).message(), func() (any, func() int) {
		m := new(emptypb.Empty)
		return m, func() int { return len(field(m, contentField)) }
	})
}

// receiveAll counts the bytes of a stream.
func receiveAll(ctx context.Context, p *path, method string, request any, fresh func() (message any, size func() int)) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := p.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method)
	if err == nil {
		err = errors.Join(s.SendMsg(request), s.CloseSend())
	}
	if err != nil {
		return 0, err
	}
	for n := int64(0); ; {
		message, size := fresh()
		switch err := s.RecvMsg(message); {
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil:
			return n, err
		}
		n += int64(size())
	}
}

// mixed has a crowd do everything at once: of ten calls six read, two ask what
// is there and two write. There is no baseline: latency is judged by the SLO.
func (b filesBench) mixed(ctx context.Context) (Table, error) {
	b.progress("files: %d callers read and write, %d rounds of %v", crowd, b.Rounds, b.Round)
	rows, err := b.compete(ctx, []*meter{b.ours}, func(conn grpc.ClientConnInterface) []*caller {
		all := make([]*caller, crowd)
		for i := range all {
			all[i] = &caller{call: b.anything(conn, i)}
		}
		return all
	})
	return Table{Title: fmt.Sprintf("%d callers at once: 60 %% read 4 KiB, 20 %% stat, 20 %% write 4 KiB with fsync", crowd), Columns: filesColumns(), Rows: rows}, err
}

// anything is what one of the crowd does. It reads what it has written, and
// compares it.
func (b filesBench) anything(conn grpc.ClientConnInterface, i int) func(context.Context) error {
	var turn atomic.Uint64 // a caller's calls come one after the other
	name := smallName(i)
	written := byte('a' + i%26)
	read := b.readOurs(conn, name)
	return func(ctx context.Context) error {
		switch turn.Add(1) % 10 {
		case 0, 5:
			next := 'a' + (written-'a'+1)%26
			content := bytes.Repeat([]byte{next}, smallFile)
			err := conn.Invoke(ctx, filesService+"WriteFile", at(name).text(writtenField, string(content)).message(), new(emptypb.Empty))
			if err == nil {
				written = next
			}
			return err
		case 3, 8:
			return conn.Invoke(ctx, filesService+"Stat", at(name).message(), new(emptypb.Empty))
		default:
			got, err := read(ctx)
			if err == nil && (len(got) != smallFile || got[0] != written || got[smallFile-1] != written) {
				err = fmt.Errorf("%s: got %d bytes that are not what was written", name, len(got))
			}
			return err
		}
	}
}
