package loadgen

import (
	"runtime"
	"syscall"
)

// A pacer waits for points in time. The runtime's timers are good to a millisecond when
// nothing else goes on, which would be most of a broker's latency; nanosleep on a thread
// of its own, with the least slack, is good to some microseconds.
type pacer struct{}

const prSetTimerslack = 29

func newPacer() pacer {
	runtime.LockOSThread()
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerslack, 1, 0)
	return pacer{}
}

func (pacer) until(at int64) {
	for d := at - clock(); d > 0; d = at - clock() {
		ts := syscall.NsecToTimespec(min(d, 50e6)) // to see in time that the run is over
		_ = syscall.Nanosleep(&ts, nil)
		if d > 50e6 {
			return
		}
	}
}

// close leaves the thread locked: its slack was changed, and it ends with its goroutine.
func (pacer) close() {}
