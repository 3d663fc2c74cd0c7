//go:build unix && !linux

package session

import "golang.org/x/sys/unix"

// pollClosed is the event of a peer that closed its end.
const pollClosed = unix.POLLHUP

// writev writes the first piece; the other systems have no gathered write in x/sys.
func writev(fd int, ps []piece, pos int) (int, error) { return unix.Write(fd, ps[0].b[pos:]) }
