// Command testreport reads what go test -json prints and prints of it what a person needs:
// the closing line of each package, everything of the tests that failed, what was skipped
// and why, and at the end "N passed, N failed, N skipped". Its exit code is 1 if anything
// failed.
//
//	go test -json ./... | go run ./scripts/testreport
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// An event is a line of go test -json; see go doc test2json.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

func main() {
	noSkip := flag.Bool("noskip", false, "a skipped test is a failure, unless the machine forbids what it does")
	flag.Parse()
	r := report{out: os.Stdout, output: map[string][]string{}}
	if err := r.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
		os.Exit(1)
	}
	if !r.close(*noSkip) {
		os.Exit(1)
	}
}

type report struct {
	out     io.Writer
	output  map[string][]string // of package and test
	passed  int
	failed  []string
	skipped []string
	broken  []string // packages that failed without a failed test: they do not build, or end early
}

func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &e) != nil {
				fmt.Fprint(r.out, line) // of the go command or a compiler
			} else {
				r.event(&e)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) event(e *event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output", "build-output":
		switch {
		case e.Action == "build-output":
			fmt.Fprint(r.out, e.Output)
		case e.Test == "" && closing(e.Output):
			fmt.Fprint(r.out, e.Output)
		default:
			r.output[key] = append(r.output[key], e.Output)
		}
		return
	case "pass":
		if e.Test != "" {
			r.passed++
		}
	case "fail":
		if e.Test != "" {
			r.failed = append(r.failed, key)
		} else if !slices.ContainsFunc(r.failed, func(k string) bool { return strings.HasPrefix(k, e.Package+" ") }) {
			r.broken = append(r.broken, e.Package)
		}
		fmt.Fprint(r.out, strings.Join(r.output[key], ""))
	case "skip":
		if e.Test != "" {
			r.skipped = append(r.skipped, key+": "+reason(r.output[key]))
		}
	default:
		return
	}
	delete(r.output, key)
}

// closing reports whether a line is that with which go test ends a package.
func closing(line string) bool {
	return strings.HasPrefix(line, "ok  \t") || strings.HasPrefix(line, "FAIL\t") || strings.HasPrefix(line, "?   \t")
}

// reason is what a skipped test said.
func reason(output []string) string {
	for _, line := range output {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") && line != "" {
			return line
		}
	}
	return "no reason given"
}

// forbidden begins the reason of a test that no package could make possible: what it does is not
// allowed by the kernel or the container.
const forbidden = "forbidden here: "

func (r *report) close(noSkip bool) bool {
	list := func(title string, names []string) {
		for i, name := range names {
			if i == 0 {
				fmt.Fprintln(r.out, title)
			}
			fmt.Fprintln(r.out, "    "+name)
		}
	}
	list("skipped:", r.skipped)
	list("failed:", r.failed)
	list("failed as packages:", r.broken)
	failed := len(r.failed) + len(r.broken)
	avoidable := slices.ContainsFunc(r.skipped, func(s string) bool { return !strings.Contains(s, forbidden) })
	if noSkip && avoidable {
		fmt.Fprintln(r.out, "nothing may be skipped here but what the machine itself forbids")
	}
	if r.passed+failed+len(r.skipped) == 0 {
		fmt.Fprintln(r.out, "no test was run")
		return false
	}
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", r.passed, failed, len(r.skipped))
	return failed == 0 && !(noSkip && avoidable)
}
