// Package heap has the collector run where a lot of garbage is known to have been made.
package heap

import (
	"runtime"
	"runtime/metrics"
)

const (
	// Much is how much garbage is worth it.
	Much = 8 << 20

	small = 256 << 20
)

// Collect has the collector run, if that is a matter of a moment, as it is with a small heap. It
// lets as much garbage gather by itself as is in use: where that is one large body, another one.
func Collect() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	if metrics.Read(live); live[0].Value.Uint64() < small {
		runtime.GC()
	}
}
