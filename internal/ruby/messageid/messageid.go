// Package messageid knows the message-ids of the Ruby stompserver:
// host-seconds-microseconds-n, the time being that of the message in seconds since 1970.
package messageid

import (
	"os"
	"strconv"
	"strings"
)

// New is the id of message n, which came in that millisecond since 1970.
func New(host string, ms int64, n uint64) string {
	b := append(make([]byte, 0, len(host)+3*20), host...)
	b = append(b, '-')
	b = strconv.AppendInt(b, ms/1000, 10)
	b = append(b, '-')
	milli := ms % 1000
	b = append(b, byte('0'+milli/100), byte('0'+milli/10%10), byte('0'+milli%10), '0', '0', '0', '-')
	return string(strconv.AppendUint(b, n, 10))
}

// Time is when id was made, in milliseconds since 1970. It is not ok for an id of another
// form.
func Time(id string) (ms int64, ok bool) {
	parts := strings.Split(id, "-")
	n := len(parts)
	if n < 4 || len(parts[n-2]) != 6 {
		return 0, false
	}
	sec, err1 := strconv.ParseInt(parts[n-3], 10, 40)
	micro, err2 := strconv.ParseInt(parts[n-2], 10, 32)
	if err1 != nil || err2 != nil || sec < 0 || micro < 0 {
		return 0, false
	}
	return sec*1000 + micro/1000, true
}

// Host is this machine's name, as far as it may stand in an id.
func Host() string {
	name, _ := os.Hostname()
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' {
			return r
		}
		return '_'
	}, name)
	if name == "" {
		return "localhost"
	}
	return name[:min(len(name), 100)]
}
