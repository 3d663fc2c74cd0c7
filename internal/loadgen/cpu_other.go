//go:build !unix

package loadgen

import "time"

// ownCPU is not told here.
func ownCPU() time.Duration { return 0 }
