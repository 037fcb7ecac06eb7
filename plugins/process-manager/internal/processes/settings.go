package processes

import (
	"cmp"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/allow"
	"github.com/gaia-go/gaia/plugins/process-manager/internal/logs"
	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
)

// What config.proto promises where the operator says nothing.
const (
	defaultLogDir       = "data/processes"
	defaultMaxProcesses = 200
	defaultMaxRuns      = 64
	defaultMaxLogSize   = 10 << 30
)

// settings are a Config with its defaults filled in. They are never written to.
type settings struct {
	commands     *allow.List
	logDir       string
	maxLogSize   int64
	store        *logs.Store // of logDir
	maxProcesses int
	maxRuns      int64
}

func settingsFrom(config *processv1.Config, environ []string) (*settings, error) {
	commands, err := allow.NewList(config, environ)
	if err != nil {
		return nil, err
	}
	logDir := cmp.Or(config.GetLogDir(), defaultLogDir)
	size := min(cmp.Or(config.GetMaxLogSize(), defaultMaxLogSize), 1<<60)
	return &settings{
		commands:     commands,
		logDir:       logDir,
		maxLogSize:   int64(size),
		store:        logs.NewStore(logDir, int64(size)),
		maxProcesses: int(cmp.Or(config.GetMaxProcesses(), defaultMaxProcesses)),
		maxRuns:      int64(cmp.Or(config.GetMaxRuns(), defaultMaxRuns)),
	}, nil
}

// logsIn returns the store of a directory, which may have been that of an earlier
// configuration.
func (s *settings) logsIn(dir string) *logs.Store {
	if dir == s.logDir {
		return s.store
	}
	return logs.NewStore(dir, s.maxLogSize)
}
