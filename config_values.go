package stompserver

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The values of files, of the environment and of flags are text; these read them. Their
// errors say what is wrong with the text, without naming the setting.

// rubyInteger is what Ruby's option parser takes for an Integer; strconv would take less
// and more ("0o17").
var rubyInteger = regexp.MustCompile(`^[-+]?(0|0_?[0-7]+(_[0-7]+)*|0[bB][01]+(_[01]+)*|0[xX][0-9a-fA-F]+(_[0-9a-fA-F]+)*|[1-9][0-9]*(_[0-9]+)*)$`)

// parseInteger reads a whole number as Ruby does: 61613, 61_613, 0xf0ad, 0b101, 0170255.
func parseInteger(s string) (int, error) {
	if !rubyInteger.MatchString(s) {
		return 0, fmt.Errorf("%q is not a whole number", s)
	}
	n, err := strconv.ParseInt(s, 0, strconv.IntSize)
	if err != nil {
		return 0, fmt.Errorf("%s is too large", s)
	}
	return int(n), nil
}

// parseBool reads the words that YAML 1.1, and so Ruby, takes for true and false.
func parseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "true", "yes", "on":
		return true, nil
	case "false", "no", "off":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", s)
}

var units = []struct {
	name string
	size int64
}{
	{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
}

// parseSize reads a number of bytes: 512, 64KiB, 1.5 GiB, 100MB.
func parseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
	unit := strings.TrimSpace(s[len(digits):])
	if unit == "" {
		unit = "B"
	}
	for _, u := range units {
		if !strings.EqualFold(unit, u.name) {
			continue
		}
		if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
			if n < 0 {
				return 0, fmt.Errorf("%q is less than nothing", s)
			}
			if n > math.MaxInt64/u.size {
				return 0, fmt.Errorf("%q is too large", s)
			}
			return n * u.size, nil
		}
		f, err := strconv.ParseFloat(digits, 64)
		if err != nil || strings.ContainsAny(digits, "xXpP_") || !(f >= 0) {
			break
		}
		if f *= float64(u.size); f >= math.MaxInt64 {
			return 0, fmt.Errorf("%q is too large", s)
		}
		return int64(f), nil
	}
	return 0, fmt.Errorf("%q is not a size: write a number and B, kB, KiB, MiB or GiB", s)
}

// formatSize is the shortest exact text that parseSize reads back.
func formatSize(n int64) string {
	for _, u := range units[:3] {
		if n != 0 && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

// parseDuration reads a time: 500ms, 10s, 5m, 1h30m, 24h, 7d, and 0.
func parseDuration(s string) (time.Duration, error) {
	if s == "0" {
		return 0, nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err == nil {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(s)
	switch {
	case err == nil && d < 0:
		return 0, fmt.Errorf("%q is less than nothing", s)
	case err == nil:
		return d, nil
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return 0, fmt.Errorf("%q has no unit: write %sms, %ss, %sm or %sh", s, s, s, s, s)
	}
	return 0, fmt.Errorf("%q is not a time: write a number and ms, s, m, h or d", s)
}

// formatDuration is what parseDuration reads back, without the zeros of Duration.String.
func formatDuration(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	if day := 24 * time.Hour; d > day && d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// parsePercent reads 60%.
func parsePercent(s string) (n int, ok bool, err error) {
	digits, ok := strings.CutSuffix(s, "%")
	if !ok {
		return 0, false, nil
	}
	n, err = strconv.Atoi(strings.TrimSpace(digits))
	if err != nil || n < 1 || n > 100 {
		return 0, true, fmt.Errorf("%q is not a share: write 1%% to 100%%", s)
	}
	return n, true, nil
}

// oneOf reads one of a few words.
func oneOf(s string, words ...string) error {
	for _, w := range words {
		if s == w {
			return nil
		}
	}
	return errors.New(strconv.Quote(s) + " is not one of " + strings.Join(words, ", ") + didYouMean(s, words))
}

// didYouMean is a suggestion to append to an error, or empty if nothing comes near.
func didYouMean(s string, words []string) string {
	if w := Nearest(s, words); w != "" {
		return "; did you mean " + strconv.Quote(w) + "?"
	}
	return ""
}

// Nearest is the word that takes the fewest edits to become from s, if they are few.
func Nearest(s string, words []string) string {
	best, most := "", len(s)/3+1
	if len(s) < 3 {
		most = 1
	}
	s = fold(s)
	for _, w := range words {
		if d := edits(s, fold(w), most); d <= most && (best == "" || d < most) {
			best, most = w, d
		}
	}
	return best
}

func fold(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }

// edits counts the letters to insert, delete, replace or swap with their neighbour. It may
// stop counting past most.
func edits(a, b string, most int) int {
	if len(a)-len(b) > most || len(b)-len(a) > most {
		return most + 1
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
