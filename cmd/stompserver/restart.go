package main

import (
	"fmt"
	"os"
	"os/exec"

	"stompserver"
)

// program is the file of this program. It is asked for at the start: after an upgrade the
// system would name the one that was replaced.
var program, programErr = os.Executable()

// restart has the program of that name, which may be another version by now, take this process's
// place with the listeners open: clients are told to come again, and none of them is refused
// meanwhile. Left says that the server has ended, and with what. What can be known to go wrong
// beforehand is told in the log, and nothing changes.
func (p *process) restart(signals <-chan os.Signal) (left bool, err error) {
	if err := p.mayRestart(); err != nil {
		p.log.Error("not restarted", "err", err)
		return false, nil
	}
	files, env, err := p.server.KeepSockets()
	if err != nil {
		p.log.Error("not restarted", "err", err)
		return false, nil
	}
	p.log.Info("restarting", "program", program)
	if err := p.stop(signals); err != nil {
		return true, err
	}
	if err := os.Chdir(p.opts.Dir); err != nil { // which paths on the command line begin at
		return true, &exitError{exitIO, err}
	}
	err = replace(program, files, env)
	return true, &exitError{exitUnavailable, fmt.Errorf("cannot restart as %s: %w", program, err)}
}

// mayRestart looks whether the next process would start.
func (p *process) mayRestart() error {
	if programErr != nil {
		return programErr
	}
	if _, err := stompserver.Load(p.opts); err != nil {
		return err
	}
	if out, err := exec.Command(program, "version").CombinedOutput(); err != nil {
		return fmt.Errorf("%s does not run: %w: %.200s", program, err, out)
	}
	return nil
}
