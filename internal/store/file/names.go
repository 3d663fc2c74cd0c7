package file

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"stompserver/internal/ruby/messageid"
	"stompserver/internal/store"
)

// folderName is the folder of a queue: its name with "_" for each "/", as the Ruby server has
// it. What that makes no good name of is named by a hash; qinfo says where it is.
func folderName(queue string) string {
	name := strings.ReplaceAll(queue, "/", "_")
	if strings.HasPrefix(name, "_") && len(name) <= 255 && allowed(name) {
		return name
	}
	sum := sha256.Sum256([]byte(queue))
	return "_~" + hex.EncodeToString(sum[:16])
}

// allowed reports whether the system takes name as one name, and as that one.
func allowed(name string) bool {
	if strings.IndexByte(name, 0) >= 0 {
		return false
	}
	switch runtime.GOOS {
	case "windows":
		return utf8.ValidString(name) && !strings.ContainsAny(name, `<>:"\|?*`) && !strings.HasSuffix(name, ".") &&
			!strings.HasSuffix(name, " ") && strings.IndexFunc(name, func(r rune) bool { return r < ' ' }) < 0
	case "darwin":
		return utf8.ValidString(name)
	}
	return true
}

// isFolder reports whether a folder of that name may be one of a queue.
func isFolder(name string) bool {
	return strings.HasPrefix(name, "_") && len(name) <= 255 && filepath.Base(name) == name && strings.IndexByte(name, 0) < 0
}

// isOurs reports whether a queue is none that the Ruby server takes for one: such as those of durable
// subscriptions it passes over.
func isOurs(queue string) bool { return !strings.HasPrefix(queue, "/queue") }

// newPrefix is what the names of messages begin with, in a directory that begins now.
func newPrefix() string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	host = strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '_'
	}, host)
	return host[:min(len(host), 64)] + "-" + strconv.FormatInt(time.Now().Unix(), 10)
}

// messageName is the name of a message's file, and its message-id for the Ruby server. Its
// own names have six digits where these have a "q".
func messageName(prefix string, id uint64, seq store.Seq) string {
	b := append(make([]byte, 0, len(prefix)+24), prefix...)
	b = strconv.AppendUint(append(b, "-q"...), id, 10)
	b = strconv.AppendUint(append(b, '-'), uint64(seq), 10)
	return string(b)
}

// parseName undoes messageName.
func parseName(prefix, name string) (id uint64, seq store.Seq, ok bool) {
	rest, ok := strings.CutPrefix(name, prefix+"-q")
	if !ok {
		return 0, 0, false
	}
	first, second, _ := strings.Cut(rest, "-")
	id, err := strconv.ParseUint(first, 10, 64)
	if err != nil {
		return 0, 0, false
	}
	n, err := strconv.ParseUint(second, 10, 64)
	if err != nil || messageName(prefix, id, store.Seq(n)) != name {
		return 0, 0, false
	}
	return id, store.Seq(n), true
}

// lastNumber is the number that a name ends in, 0 if there is none.
func lastNumber(name string) store.Seq {
	n, err := strconv.ParseUint(name[strings.LastIndexByte(name, '-')+1:], 10, 62)
	if err != nil {
		return 0
	}
	return store.Seq(n)
}

// nameTime is when the Ruby server named a message, in milliseconds since 1970; 0 if it did
// not.
func nameTime(name string) int64 {
	ms, _ := messageid.Time(name)
	return ms
}
