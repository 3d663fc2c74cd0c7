package stompserver

import (
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

// machineMemory is the memory of the machine, of the process's cgroup or of GOMEMLIMIT in
// bytes, whichever is the smallest; 0 if none of them can be told.
func machineMemory() int64 {
	all := physicalMemory()
	for _, limit := range []int64{cgroupMemory("/"), debug.SetMemoryLimit(-1)} {
		if limit > 0 && limit < math.MaxInt64 && (all == 0 || limit < all) {
			all = limit
		}
	}
	return all
}

// cgroupMemory is the least limit of the process's cgroup and of those above it, 0 if there
// is none. root is the root of the file system.
func cgroupMemory(root string) int64 {
	text, err := os.ReadFile(path.Join(root, "proc/self/cgroup"))
	if err != nil {
		return 0
	}
	least := int64(0)
	for line := range strings.Lines(string(text)) {
		// ID:CONTROLLERS:PATH, where version 2 has no controllers.
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) < 3 {
			continue
		}
		dir, file := "sys/fs/cgroup", "memory.max"
		switch {
		case f[1] == "memory":
			dir, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		case f[1] != "":
			continue
		}
		for p := path.Join("/", f[2]); ; p = path.Dir(p) {
			data, err := os.ReadFile(path.Join(root, dir, p, file))
			n, bad := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
			if err == nil && bad == nil && n > 0 && (least == 0 || n < least) {
				least = n
			}
			if p == "/" {
				break
			}
		}
	}
	return least
}
