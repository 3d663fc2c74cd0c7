package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"stompserver"
)

// A daemon is this program started a second time, in a session of its own, with the log
// file as its output. The first one waits until the second listens, or reports why not.

// daemonMark is in the environment of the second.
const daemonMark = "_STOMPSERVER_DAEMON"

// A daemonReport is what the second writes to the first.
type daemonReport struct {
	Code  int
	Error string
}

// daemonize starts the daemon and waits for its report.
func daemonize(g *globals, s *stompserver.Settings) error {
	if !canDaemonize {
		return &exitError{exitConfig, fmt.Errorf("there are no daemons on %s: start it without -z as a service", runtime.GOOS)}
	}
	if err := becomeUser(g, s); err != nil {
		return err
	}
	if _, err := makeDirs(s); err != nil {
		return err
	}
	out, err := os.OpenFile(s.LogFile, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return &exitError{exitIO, fmt.Errorf("cannot open the log file: %w", err)}
	}
	defer out.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), daemonMark+"=1")
	cmd.Stdout, cmd.Stderr = out, out
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = detached()
	err = cmd.Start()
	w.Close()
	if err != nil {
		return fmt.Errorf("cannot start the daemon: %w", err)
	}
	var report daemonReport
	if json.NewDecoder(r).Decode(&report) != nil {
		_ = cmd.Wait()
		return fmt.Errorf("the daemon ended at its start: its last words are in %s", s.LogFile)
	}
	if report.Code != exitOK {
		return &exitError{report.Code, errors.New(report.Error)}
	}
	return nil
}

// A daemonPipe leads to the process that started this one. A nil one leads nowhere.
type daemonPipe struct{ f *os.File }

// daemonChild is the pipe of a process that daemonize has started, or nil.
func daemonChild() *daemonPipe {
	if os.Getenv(daemonMark) == "" {
		return nil
	}
	os.Unsetenv(daemonMark)
	return &daemonPipe{os.NewFile(3, "daemon")}
}

func (p *daemonPipe) ready() { p.report(daemonReport{}) }

func (p *daemonPipe) failed(err error) {
	if err != nil {
		p.report(daemonReport{exitCode(err), err.Error()})
	}
}

func (p *daemonPipe) report(r daemonReport) {
	if p == nil || p.f == nil {
		return
	}
	_ = json.NewEncoder(p.f).Encode(r)
	p.f.Close()
	p.f = nil
}
