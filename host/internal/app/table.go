package app

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/gaia-go/gaia/host/internal/supervisor"
)

// printTable says once what runs and where: for people, or as one JSON object.
func (h *host) printTable() error {
	if h.options.JSON {
		return h.printJSON()
	}
	w := tabwriter.NewWriter(h.options.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "SUBSYSTEM\tPLUGIN\tSTATE\tPID\tSTART\tREASON")
	for _, s := range h.subsystems {
		st := s.supervisor.Status()
		pid, took := "-", "-"
		if st.State == supervisor.Ready {
			pid, took = fmt.Sprint(st.PID), st.StartDuration.Round(time.Millisecond).String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", s.config.Name, s.config.Plugin, st.State, pid, took, st.Reason)
	}
	fmt.Fprintf(w, "\ngRPC\tunix:%s\n", h.config.Host.Socket)
	if h.httpAddress != "" {
		fmt.Fprintf(w, "HTTP\thttp://%s\t(token in %s)\n", h.httpAddress, h.tokenPath)
	}
	return w.Flush()
}

func (h *host) printJSON() error {
	type row struct {
		Name         string  `json:"name"`
		Plugin       string  `json:"plugin"`
		State        string  `json:"state"`
		PID          int     `json:"pid,omitempty"`
		StartSeconds float64 `json:"start_seconds,omitempty"`
		Reason       string  `json:"reason,omitempty"`
	}
	table := struct {
		Socket     string `json:"socket"`
		HTTP       string `json:"http,omitempty"`
		Token      string `json:"token_file,omitempty"`
		Subsystems []row  `json:"subsystems"`
	}{Socket: h.config.Host.Socket, HTTP: h.httpAddress, Token: h.tokenPath, Subsystems: []row{}}
	for _, s := range h.subsystems {
		st := s.supervisor.Status()
		table.Subsystems = append(table.Subsystems, row{
			Name: s.config.Name, Plugin: s.config.Plugin, State: st.State.String(),
			PID: st.PID, StartSeconds: st.StartDuration.Seconds(), Reason: st.Reason,
		})
	}
	return json.NewEncoder(h.options.Stdout).Encode(table)
}
