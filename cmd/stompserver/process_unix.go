//go:build unix && !aix && !solaris && !illumos

package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The signals of a running server, besides the interrupt.
var (
	terminateSignals = []os.Signal{os.Interrupt, syscall.SIGTERM}
	reloadSignals    = []os.Signal{syscall.SIGHUP}
	reopenSignals    = []os.Signal{syscall.SIGUSR1}
	restartSignals   = []os.Signal{syscall.SIGUSR2}
)

const canDaemonize = true

// replace has another program take this process's place, with files open in it.
func replace(program string, files []*os.File, env func(fds []uintptr) string) error {
	fds := make([]uintptr, len(files))
	for i, f := range files {
		raw, err := f.SyscallConn()
		if err == nil {
			e := raw.Control(func(fd uintptr) {
				fds[i] = fd
				_, err = unix.FcntlInt(fd, unix.F_SETFD, 0) // it stays open in the program
			})
			if err == nil {
				err = e
			}
		}
		if err != nil {
			return err
		}
	}
	return syscall.Exec(program, os.Args, append(os.Environ(), env(fds)))
}

// detached starts a process in a session of its own.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// become changes to the group, then to the user, each by name or number; an empty name
// stays. Without a group it is the user's own, and root's supplementary groups go.
func become(userName, groupName string) error {
	var u *user.User
	uid, gid := -1, -1
	if userName != "" {
		var err error
		if u, err = findUser(userName); err != nil {
			return &exitError{exitConfig, fmt.Errorf("cannot become user %s: there is no such user", userName)}
		}
		uid, _ = strconv.Atoi(u.Uid)
		gid, _ = strconv.Atoi(u.Gid)
	}
	if groupName != "" {
		g, err := user.LookupGroup(groupName)
		if err != nil {
			g, err = user.LookupGroupId(groupName)
		}
		if err != nil {
			return &exitError{exitConfig, fmt.Errorf("cannot change to group %s: there is no such group", groupName)}
		}
		gid, _ = strconv.Atoi(g.Gid)
	}
	if gid >= 0 && (gid != os.Getegid() || uid > 0 && os.Geteuid() == 0) {
		err := error(nil)
		if os.Geteuid() == 0 {
			err = syscall.Setgroups(groupsOf(u, gid))
		}
		if err == nil {
			err = syscall.Setgid(gid)
		}
		if err != nil {
			return notPermitted("change to group "+groupName, "group", err)
		}
	}
	if uid >= 0 && (uid != os.Geteuid() || uid != os.Getuid()) {
		if err := syscall.Setuid(uid); err != nil {
			return notPermitted("become user "+userName, "user", err)
		}
	}
	return nil
}

func findUser(name string) (*user.User, error) {
	u, err := user.Lookup(name)
	if err != nil {
		u, err = user.LookupId(name)
	}
	return u, err
}

func groupsOf(u *user.User, gid int) []int {
	all := []int{gid}
	if u == nil {
		return all
	}
	ids, _ := u.GroupIds()
	for _, id := range ids {
		if n, err := strconv.Atoi(id); err == nil && n != gid {
			all = append(all, n)
		}
	}
	return all
}

func notPermitted(what, key string, err error) error {
	if errors.Is(err, syscall.EPERM) {
		return &exitError{exitFailed, fmt.Errorf("cannot %s: %w. Start as root, or take %q out of the configuration", what, err, key)}
	}
	return &exitError{exitFailed, fmt.Errorf("cannot %s: %w", what, err)}
}

// lockFile takes the lock that lives as long as the process keeps f open.
func lockFile(f *os.File) bool {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

// isServer reports whether the process is the Ruby original, which locks no pid file. Where
// there is no /proc the lock alone decides.
func isServer(pid int) bool {
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return false
	}
	args := strings.SplitN(string(cmdline), "\x00", 3)
	return len(args) > 1 && strings.HasPrefix(filepath.Base(args[0]), "ruby") && filepath.Base(args[1]) == "stompserver"
}
