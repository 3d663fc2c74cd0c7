package web

import (
	"encoding/json"
	"net/http"
)

// A Check is a part of what a server needs to be ready.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"` // for people, where it is not
}

// ready answers whether clients are to be sent here: 200, or 503 and what is missing.
func (d *Door) ready(w http.ResponseWriter) {
	answer := struct {
		Ready  bool    `json:"ready"`
		Checks []Check `json:"checks"`
	}{Ready: true, Checks: []Check{}}
	if d.cfg.Checks != nil {
		answer.Checks = d.cfg.Checks()
	}
	for _, c := range answer.Checks {
		answer.Ready = answer.Ready && c.OK
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !answer.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(answer)
}
