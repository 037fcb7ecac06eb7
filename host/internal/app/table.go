package app

import (
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gaia-go/gaia/host/internal/supervisor"
)

// printTable says once what runs and where: for people, or as one JSON object.
func (h *host) printTable() error {
	if h.options.JSON {
		return h.printJSON()
	}
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 8, 2, ' ', 0)
	row := func(cells ...string) { _, _ = io.WriteString(w, strings.Join(cells, "\t")+"\n") } // to memory
	row("SUBSYSTEM", "PLUGIN", "STATE", "PID", "START", "REASON")
	for _, s := range h.all() {
		st := s.supervisor.Status()
		pid, took := "-", "-"
		if st.State == supervisor.Ready {
			pid, took = strconv.Itoa(st.PID), st.StartDuration.Round(time.Millisecond).String()
		}
		row(s.name, st.File, st.State.String(), pid, took, st.Reason)
	}
	row()
	row("gRPC", "unix:"+h.config.Load().Host.Socket)
	if h.grpcAddress != "" {
		row("gRPC", h.grpcAddress, "(with a certificate)")
	}
	if h.httpAddress != "" {
		row("HTTP", "http://"+h.httpAddress, "(token in "+h.tokenPath+")")
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(text.String()) {
		if _, err := io.WriteString(h.options.Stdout, strings.TrimRight(line, " \n")+"\n"); err != nil {
			return err
		}
	}
	return nil
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
		GRPC       string `json:"grpc,omitempty"`
		HTTP       string `json:"http,omitempty"`
		Token      string `json:"token_file,omitempty"`
		Subsystems []row  `json:"subsystems"`
	}{Socket: h.config.Load().Host.Socket, GRPC: h.grpcAddress, HTTP: h.httpAddress, Token: h.tokenPath, Subsystems: []row{}}
	for _, s := range h.all() {
		st := s.supervisor.Status()
		table.Subsystems = append(table.Subsystems, row{
			Name: s.name, Plugin: st.File, State: st.State.String(),
			PID: st.PID, StartSeconds: st.StartDuration.Seconds(), Reason: st.Reason,
		})
	}
	return json.NewEncoder(h.options.Stdout).Encode(table)
}
