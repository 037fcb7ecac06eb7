package top

import (
	"slices"
	"time"

	"charm.land/bubbles/v2/help"
	"charm.land/bubbles/v2/key"
	tea "charm.land/bubbletea/v2"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
)

// Details are what is shown of the selected subsystem besides its reading.
type Details struct {
	Method   string // that the policies are shown for, such as "Do"; "" when there are none to show
	Policies []*hostv1.Policy
	Events   []*hostv1.EventsResponse // the last ones, oldest first
}

// questions are asked of the host outside of Update, which must not wait.
type questions struct {
	stats   func() tea.Msg          // a statsMsg
	details func(Subsystem) tea.Msg // a detailsMsg
}

// statsMsg is an answer of the host, or why there is none.
type statsMsg struct {
	stats *hostv1.StatsResponse
	at    time.Time
	err   error
}

// detailsMsg is what there is to know of a subsystem.
type detailsMsg struct {
	subsystem string
	details   *Details
	err       error
}

// tickMsg says that it is time to read.
type tickMsg struct{}

// historySize is how many readings the sparklines reach back.
const historySize = 60

// model is the screen and what it shows. Update is given messages one after
// the other and returns the next model; nothing else changes it.
type model struct {
	ask           questions
	every         time.Duration
	width, height int

	before  *hostv1.StatsResponse // the last answer
	reading *Reading              // nil before the first answer
	details *detailsMsg           // of the selected subsystem, or of the one before
	history map[string][]float64  // calls per second by subsystem; "" is all of them
	lost    error                 // why the last question had no answer; nil when it had
	lostAt  time.Time
	note    string // what the user should know, until noteTill
	noteEnd time.Time

	selected string // name of a subsystem; "" for the first row, whichever it is
	sort     int    // index of a column
	reversed bool
	paused   bool
	closed   bool // the details are not shown
	help     help.Model
	keys     keys
}

func newModel(every time.Duration, ask questions) model {
	return model{
		ask: ask, every: every, width: 80, height: 24,
		history: make(map[string][]float64), sort: columnOfCalls, help: newHelp(), keys: newKeys(),
	}
}

// Init asks the first question.
func (m model) Init() tea.Cmd { return m.ask.stats }

// Update takes in an answer, a key or a new size.
func (m model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		m.help.SetWidth(msg.Width)
	case tea.KeyPressMsg:
		return m.press(msg)
	case tickMsg:
		if m.paused {
			return m, m.tick()
		}
		return m, m.ask.stats
	case statsMsg:
		return m.answered(msg)
	case detailsMsg:
		if msg.err == nil { // else those before stay, with the time of their events
			m.details = &msg
		}
	}
	return m, nil
}

func (m model) tick() tea.Cmd {
	return tea.Tick(m.every, func(time.Time) tea.Msg { return tickMsg{} })
}

// answered shows an answer, or that there is none, and waits for the next.
func (m model) answered(msg statsMsg) (tea.Model, tea.Cmd) {
	if msg.err != nil {
		if m.lost == nil {
			m.lostAt = msg.at
		}
		m.lost = msg.err
		m.before = nil // rates over a gap would be none of this moment
		return m, m.tick()
	}
	if m.reading != nil && m.lost != nil {
		m.say(msg.at, "the host answers again")
	}
	if m.reading != nil && m.reading.startedBefore(msg.stats) {
		m.say(msg.at, "the host was started again at "+msg.stats.GetStatus().GetStartedAt().AsTime().Local().Format("15:04:05"))
		m.history, m.details = make(map[string][]float64), nil
	}
	m.lost = nil
	m.reading = Compare(m.before, msg.stats, msg.at)
	m.before = msg.stats
	m.remember()
	return m, tea.Batch(m.tick(), m.askDetails())
}

// say shows a note for a while.
func (m *model) say(at time.Time, note string) {
	m.note, m.noteEnd = note, at.Add(10*time.Second)
}

// remember adds a reading with rates to the history.
func (m *model) remember() {
	if m.reading.Seconds == 0 {
		return
	}
	add := func(name string, value float64) {
		values := append(m.history[name], value)
		m.history[name] = values[max(0, len(values)-historySize):]
	}
	add("", m.reading.CallsPerSecond)
	for _, s := range m.reading.Subsystems {
		add(s.Name, s.CallsPerSecond)
	}
}

// press does what a key stands for.
func (m model) press(k tea.KeyPressMsg) (tea.Model, tea.Cmd) {
	switch {
	case key.Matches(k, m.keys.quit):
		return m, tea.Quit
	case key.Matches(k, m.keys.suspend):
		return m, tea.Suspend
	case key.Matches(k, m.keys.up):
		m.selected = m.nearestRow(-1)
		return m, m.askDetails()
	case key.Matches(k, m.keys.down):
		m.selected = m.nearestRow(1)
		return m, m.askDetails()
	case key.Matches(k, m.keys.left):
		m.sort = (m.sort + len(columns()) - 1) % len(columns())
	case key.Matches(k, m.keys.right):
		m.sort = (m.sort + 1) % len(columns())
	case key.Matches(k, m.keys.reverse):
		m.reversed = !m.reversed
	case key.Matches(k, m.keys.details):
		m.closed = !m.closed
		return m, m.askDetails()
	case key.Matches(k, m.keys.pause):
		m.paused = !m.paused
	case key.Matches(k, m.keys.slower):
		m.every = step(m.every, 1)
	case key.Matches(k, m.keys.faster):
		m.every = step(m.every, -1)
	}
	return m, nil
}

// step is the next longer or shorter interval.
func step(every time.Duration, by int) time.Duration {
	const ms = time.Millisecond
	steps := []time.Duration{100 * ms, 250 * ms, 500 * ms, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, time.Minute}
	i, exact := slices.BinarySearch(steps, every)
	if !exact && by > 0 {
		i-- // i is the next longer one already
	}
	return steps[min(max(i+by, 0), len(steps)-1)]
}

// rows are the subsystems in the order in which they are shown.
func (m model) rows() []Subsystem {
	if m.reading == nil {
		return nil
	}
	return sorted(m.reading.Subsystems, columns()[m.sort], m.reversed)
}

// nearestRow is the name of the row so far below the selected one, or of the
// first or last; "" without rows.
func (m model) nearestRow(below int) string {
	rows := m.rows()
	if len(rows) == 0 {
		return ""
	}
	return rows[min(max(m.index(rows)+below, 0), len(rows)-1)].Name
}

// index is where the selected row is; 0 if it is not there.
func (m model) index(rows []Subsystem) int {
	return max(0, slices.IndexFunc(rows, func(s Subsystem) bool { return s.Name == m.selected }))
}

// askDetails asks for those of the selected subsystem, if they are shown.
func (m model) askDetails() tea.Cmd {
	rows := m.rows()
	if m.closed || len(rows) == 0 {
		return nil
	}
	selected := rows[m.index(rows)]
	return func() tea.Msg { return m.ask.details(selected) }
}
