package session

import "golang.org/x/sys/unix"

// pollClosed is the event of a peer that closed its end.
const pollClosed = unix.POLLRDHUP

func writev(fd int, ps []piece, pos int) (int, error) {
	var room [maxPieces][]byte
	iov := room[:0]
	for _, p := range ps[:min(len(ps), maxPieces)] {
		iov = append(iov, p.b[pos:])
		pos = 0
	}
	return unix.Writev(fd, iov)
}
