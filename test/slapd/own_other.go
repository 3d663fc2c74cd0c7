//go:build !unix

package slapd

import (
	"os/exec"
	"testing"
)

func own(testing.TB, string) {}

func (s *Server) command(args ...string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = s.dir
	return cmd
}
