package top

import (
	"context"
	"errors"
	"io"
	"time"

	tea "charm.land/bubbletea/v2"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
)

// Host is a host that runs, or may run again soon.
type Host interface {
	// Stats reads the counters. It looks for the host anew after an error.
	Stats(ctx context.Context) (*hostv1.StatsResponse, error)

	// Details asks for what the screen shows of one subsystem.
	Details(ctx context.Context, s Subsystem) (*Details, error)
}

// Terminal is where the screen is.
type Terminal struct {
	In  io.Reader
	Out io.Writer
	Env []string // TERM, COLORTERM, NO_COLOR as "NAME=value"
}

// answerTimeout bounds how long a question may take; the screen says so then.
const answerTimeout = 5 * time.Second

// Run draws the screen until the user has enough or ctx ends. The terminal is
// left as it was.
func Run(ctx context.Context, host Host, every time.Duration, t Terminal) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // questions that are under way when the user leaves
	program := tea.NewProgram(newModel(every, ask(ctx, host)),
		tea.WithContext(ctx), tea.WithInput(t.In), tea.WithOutput(t.Out), tea.WithEnvironment(t.Env),
		tea.WithoutSignalHandler()) // signals end ctx
	_, err := program.Run()
	if ctx.Err() != nil && errors.Is(err, tea.ErrProgramKilled) {
		return ctx.Err()
	}
	return err
}

func ask(ctx context.Context, host Host) questions {
	return questions{
		stats: func() tea.Msg {
			ctx, cancel := context.WithTimeout(ctx, answerTimeout)
			defer cancel()
			stats, err := host.Stats(ctx)
			return statsMsg{stats: stats, at: time.Now(), err: err}
		},
		details: func(s Subsystem) tea.Msg {
			ctx, cancel := context.WithTimeout(ctx, answerTimeout)
			defer cancel()
			d, err := host.Details(ctx, s)
			return detailsMsg{subsystem: s.Name, details: d, err: err}
		},
	}
}
