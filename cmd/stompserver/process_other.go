//go:build !unix || aix || solaris || illumos

package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
)

// The signals of a running server.
var (
	terminateSignals = []os.Signal{os.Interrupt, syscall.SIGTERM}
	reloadSignals    []os.Signal
	reopenSignals    []os.Signal
	restartSignals   []os.Signal
)

const canDaemonize = false

func replace(string, []*os.File, func([]uintptr) string) error { return errors.ErrUnsupported }

func detached() *syscall.SysProcAttr { return nil }

func become(user, group string) error {
	if user == "" && group == "" {
		return nil
	}
	return &exitError{exitConfig, fmt.Errorf("user and group cannot be changed on %s", runtime.GOOS)}
}

func lockFile(*os.File) bool { return true }

func isServer(int) bool { return false }
