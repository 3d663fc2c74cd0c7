//go:build linux

package trial

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// Progress says on standard error what is going on.
func Progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

// Names lists the keys of all.
func Names[T any](all []*T, key func(*T) string) string {
	var s []string
	for _, t := range all {
		s = append(s, key(t))
	}
	return strings.Join(s, ",")
}

// Choose picks those of all that list names; an empty list names all.
func Choose[T any](all []*T, list string, key func(*T) string) (chosen []*T, err error) {
	if list == "" {
		return all, nil
	}
	for name := range strings.SplitSeq(list, ",") {
		found := false
		for _, t := range all {
			if key(t) == strings.TrimSpace(name) {
				chosen, found = append(chosen, t), true
			}
		}
		if !found {
			return nil, fmt.Errorf("%q is not one of %s", name, Names(all, key))
		}
	}
	return chosen, nil
}

// Short spells a number with three digits.
func Short(n float64) string {
	for _, s := range []struct {
		of   float64
		name string
	}{{1e9, " G"}, {1e6, " M"}, {1e3, " k"}} {
		if n >= s.of {
			return fmt.Sprintf("%.3g%s", n/s.of, s.name)
		}
	}
	return fmt.Sprintf("%.3g", n)
}

// Machine says what kind of machine this is.
func Machine() string {
	cpu := runtime.GOARCH
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.SplitSeq(string(text), "\n") {
			if name, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(v)
				break
			}
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%d cores of %s, Linux %s, %s", runtime.NumCPU(), cpu, strings.TrimSpace(string(kernel)), runtime.Version())
}

// ReplaceTable puts text between the marks of that name in file.
func ReplaceTable(file, name, text string) error {
	begin, end := "<!-- "+name+" begin -->\n", "<!-- "+name+" end -->\n"
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	head, rest, ok := bytes.Cut(old, []byte(begin))
	_, tail, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		return fmt.Errorf("%s has no place for the table %s", file, name)
	}
	return os.WriteFile(file, []byte(string(head)+begin+text+end+string(tail)), 0o644)
}
