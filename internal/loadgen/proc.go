package loadgen

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A processUse is what a process has used up to now.
type processUse struct {
	cpu time.Duration
	rss int64 // bytes resident
}

// readProcess reads the CPU time and memory of pid, with those of its descendants if
// asked, from Linux's /proc.
func readProcess(pid int, descendants bool) (processUse, error) {
	pids := []int{pid}
	if descendants {
		pids = family(pid)
	}
	var u processUse
	for i, p := range pids {
		one, err := readStat(p)
		if err != nil {
			if i > 0 {
				continue // a descendant may end between two looks
			}
			return u, fmt.Errorf("--pid %d: %w", pid, err)
		}
		u.cpu += one.cpu
		u.rss += one.rss
	}
	return u, nil
}

// ticks is USER_HZ, the unit of the times in /proc/PID/stat: 100 on every Linux.
const ticks = 100

func readStat(pid int) (u processUse, err error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return u, err
	}
	// The name may hold blanks and brackets; what follows its last bracket does not.
	_, f := statFields(text)
	if len(f) < 22 {
		return u, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(f))
	}
	var n [2]int64
	for i, s := range f[11:13] { // utime, stime
		if n[i], err = strconv.ParseInt(s, 10, 64); err != nil {
			return u, err
		}
	}
	pages, err := strconv.ParseInt(f[21], 10, 64)
	if err != nil {
		return u, err
	}
	u.cpu = time.Duration(n[0]+n[1]) * time.Second / ticks
	u.rss = pages * int64(os.Getpagesize())
	return u, nil
}

// statFields splits what follows the name: state, ppid, …
func statFields(text []byte) (name string, fields []string) {
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return "", nil
	}
	return string(text[open+1 : end]), strings.Fields(string(text[end+1:]))
}

// family is pid and all its descendants.
func family(pid int) []int {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, s := range stats {
		text, err := os.ReadFile(s)
		if err != nil {
			continue
		}
		if _, f := statFields(text); len(f) > 1 {
			child, _ := strconv.Atoi(filepath.Base(filepath.Dir(s)))
			parent, _ := strconv.Atoi(f[1])
			children[parent] = append(children[parent], child)
		}
	}
	pids := []int{pid}
	for i := 0; i < len(pids); i++ {
		pids = append(pids, children[pids[i]]...)
	}
	return pids
}
