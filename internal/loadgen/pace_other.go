//go:build !linux

package loadgen

import "time"

// A pacer waits for points in time, as well as the runtime's timers can.
type pacer struct{}

func newPacer() pacer { return pacer{} }

func (pacer) until(at int64) {
	if d := at - clock(); d > 0 {
		time.Sleep(time.Duration(min(d, 50e6)))
	}
}

func (pacer) close() {}
