package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stompserver"
)

// forms are the ways to write the manual page's flags, and what they mean.
var forms = []struct {
	name string
	args []string
	want string // as parsed writes it
}{
	{"cluster with value apart", []string{"-adp", "61614"}, "auth=true debug=true port=61614"},
	{"value attached", []string{"-p61614"}, "port=61614"},
	{"value apart", []string{"-p", "61614"}, "port=61614"},
	{"long, value apart", []string{"--port", "61614"}, "port=61614"},
	{"long, value attached", []string{"--port=61614"}, "port=61614"},
	{"prefix", []string{"--stor=x"}, "storage=x"},
	{"prefix, value apart", []string{"--stor", "x"}, "storage=x"},
	{"prefix of one letter", []string{"--p", "61614"}, "port=61614"},
	{"prefix that newer flags share", []string{"--d", "--a"}, "auth=true debug=true"},
	{"prefix of config", []string{"--co=x"}, "config=x"},
	{"prefix of checkpoint", []string{"--ch=5"}, "checkpoint=5"},
	{"prefix of host", []string{"--ho=x"}, "host=x"},
	{"prefix of help", []string{"--he"}, "help=true"},
	{"queue", []string{"--queue=file"}, "queuetype=file"},
	{"upper case", []string{"--PORT=1"}, "port=1"},
	{"mixed case prefix", []string{"--Por", "1"}, "port=1"},
	{"dash for underscore", []string{"--working-dir=x"}, "working-dir=x"},
	{"underscore", []string{"--working_dir=x"}, "working-dir=x"},
	{"both", []string{"--WORKING_D=x"}, "working-dir=x"},
	{"two flags in one", []string{"-da"}, "auth=true debug=true"},
	{"value ends a cluster", []string{"-daCf.conf"}, "auth=true config=f.conf debug=true"},
	{"value apart ends a cluster", []string{"-daC", "f.conf"}, "auth=true config=f.conf debug=true"},
	{"letters behind a value are its", []string{"-sa", "-d"}, "debug=true storage=a"},
	{"value with =", []string{"--host=a=b"}, "host=a=b"},
	{"short value with =", []string{"-ba=b"}, "host=a=b"},
	{"short value that begins with =", []string{"-b=a"}, "host==a"},
	{"value that begins with a dash", []string{"-C", "-a"}, "config=-a"},
	{"value that is a flag", []string{"-b", "--port"}, "host=--port"},
	{"value that is two dashes", []string{"-s", "--"}, "storage=--"},
	{"value with a space", []string{"-C", "a b"}, "config=a b"},
	{"hexadecimal", []string{"-p", "0x1F"}, "port=31"},
	{"octal", []string{"-p", "010"}, "port=8"},
	{"binary", []string{"-p", "0b11"}, "port=3"},
	{"underscores", []string{"-p", "1_000"}, "port=1000"},
	{"sign", []string{"-p", "+1"}, "port=1"},
	{"last wins", []string{"-p1", "-p2"}, "port=2"},
	{"help ends it", []string{"-h", "-p", "x"}, "help=true"},
	{"help in a cluster", []string{"-ah"}, "auth=true help=true"},
	{"help with letters behind it", []string{"-host=x"}, "help=true"},
	{"dash within a cluster", []string{"-a-d"}, "auth=true debug=true"},
	{"dash at the end of a cluster", []string{"-a-"}, "auth=true"},
	{"help with =", []string{"-h=x"}, "error"},
	{"nothing", nil, ""},
	{"two dashes", []string{"--"}, ""},
	{"words", []string{"foo", "-a", "bar"}, "auth=true words=foo\nbar"},
	{"words behind two dashes", []string{"--", "-p", "1"}, "words=-p\n1"},
	{"a dash is a word", []string{"-"}, "words=-"},

	{"ambiguous", []string{"--c=5"}, "error"},
	{"ambiguous help", []string{"--h"}, "error"},
	{"no value", []string{"-p"}, "error"},
	{"no value, long", []string{"--port"}, "error"},
	{"empty value", []string{"--port="}, "error"},
	{"empty text", []string{"--host="}, "error"},
	{"empty text apart", []string{"-b", ""}, "error"},
	{"needless value", []string{"--auth=yes"}, "error"},
	{"needless empty value", []string{"--auth="}, "error"},
	{"needless short value", []string{"-a=x"}, "error"},
	{"needless value in a cluster", []string{"-da="}, "error"},
	{"no-", []string{"--no-auth"}, "error"},
	{"unknown", []string{"--xyz"}, "error"},
	{"unknown letter", []string{"-x"}, "error"},
	{"unknown in a cluster", []string{"-axyz"}, "error"},
	{"digit", []string{"-d1"}, "error"},
	{"upper case letter", []string{"-A"}, "error"},
	{"one dash for two", []string{"-debug"}, "error"},
	{"one dash for two, port", []string{"-port", "1"}, "error"},
	{"no number", []string{"-p", "abc"}, "error"},
	{"number with =", []string{"-p=61614"}, "error"},
	{"number with a unit", []string{"-c", "5s"}, "error"},
	{"fraction", []string{"-p", "1.5"}, "error"},
	{"eight in octal", []string{"-p", "08"}, "error"},
	{"octal as in Go", []string{"-p", "0o17"}, "error"},
	{"two underscores", []string{"-p", "1__0"}, "error"},
	{"space before a number", []string{"-p", " 1"}, "error"},
	{"dash between the wrong letters", []string{"--working--dir=x"}, "error"},
	{"more than the name", []string{"--auth-x"}, "error"},
	{"no letter", []string{"-é"}, "error"},
}

// parsed is what the server makes of args: the flags by name and the words, or "error".
func parsed(args []string) string {
	flags, err := rewrite(args)
	if err != nil {
		return "error"
	}
	m := make(map[string]string)
	for i, f := range flags {
		if f == "--" {
			m["words"] = strings.Join(flags[i+1:], "\n")
			break
		}
		name, value, ok := strings.Cut(f[2:], "=")
		switch {
		case !ok:
			value = "true"
		case value == "":
			return "error"
		case name == "port" || name == "checkpoint":
			s, err := stompserver.Load(stompserver.LoadOptions{Dir: "/", File: "/dev/null",
				Flags: []stompserver.FlagValue{{Key: name, Name: "--" + name, Value: value}}})
			if err != nil {
				return "error"
			}
			value = strconv.Itoa(int(s.Config.Checkpoint / time.Second))
			if name == "port" {
				value = strconv.Itoa(max(s.Config.Port, 0))
			}
		}
		m[name] = value
	}
	return join(m)
}

func join(m map[string]string) string {
	var all []string
	for k, v := range m {
		all = append(all, k+"="+v)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestForms(t *testing.T) {
	for _, tt := range forms {
		t.Run(tt.name, func(t *testing.T) {
			if got := parsed(tt.args); got != tt.want {
				t.Errorf("%q: got %s, want %s", tt.args, got, tt.want)
			}
		})
	}
}

// ruby starts the original's option parser and returns what it makes of arguments.
func ruby(t *testing.T) func(args []string) string {
	t.Helper()
	path, err := exec.LookPath("ruby")
	if err != nil {
		t.Skip("ruby is not installed")
	}
	cmd := exec.Command(path, "testdata/options.rb")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error("ruby:", err)
		}
	})
	to, from := json.NewEncoder(in), json.NewDecoder(bufio.NewReader(out))
	return func(args []string) string {
		t.Helper()
		if err := to.Encode(append([]string{}, args...)); err != nil {
			t.Fatal(err)
		}
		var m map[string]string
		if err := from.Decode(&m); err != nil {
			t.Fatalf("%q: %v", args, err)
		}
		if m["error"] != "" {
			return "error"
		}
		return join(m)
	}
}

func TestFormsAgainstRuby(t *testing.T) {
	parse := ruby(t)
	for _, tt := range forms {
		if got := parse(tt.args); got != tt.want {
			t.Errorf("%s: %q: Ruby says %s, the table %s", tt.name, tt.args, got, tt.want)
		}
	}
}

var seed = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of random tests")

var negative = regexp.MustCompile(`(port|checkpoint)=-`)

// TestRandomFormsAgainstRuby plays random command lines to both parsers.
func TestRandomFormsAgainstRuby(t *testing.T) {
	parse := ruby(t)
	t.Logf("-seed=%d", *seed)
	r := rand.New(rand.NewPCG(*seed, 1))
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	long := []string{"config", "port", "host", "queuetype", "working_dir", "storage", "debug", "auth", "checkpoint", "help"}
	for range 3000 {
		var args []string
		for range r.IntN(4) {
			switch r.IntN(4) {
			case 0: // a cluster
				a := "-"
				for range 1 + r.IntN(3) {
					a += pick("C", "p", "b", "q", "w", "s", "d", "a", "c", "d", "a", "h", "1", "=", "x")
				}
				args = append(args, a)
			case 1: // a long flag or a prefix of one
				name := pick(long...)
				name = name[:1+r.IntN(len(name))]
				if r.IntN(4) == 0 {
					name = strings.ToUpper(name)
				}
				if r.IntN(4) == 0 {
					name = strings.ReplaceAll(name, "_", "-")
				}
				args = append(args, "--"+name+pick("", "", "=", "=1", "=x", "=0x10"))
			case 2:
				args = append(args, pick("1", "x", "0x10", "007", "1_0", "-", "--", "a=b", ""))
			default:
				args = append(args, pick("-p1", "-c", "-p", "-da", "-b", "-Cx"))
			}
		}
		got, want := parsed(args), parse(args)
		if negative.MatchString(want) {
			want = "error" // Ruby took it, and failed later
		}
		if got != want && !(got == "error" && slices.ContainsFunc(args, below)) {
			t.Errorf("%q: got %s, Ruby says %s", args, got, want)
		}
	}
}

// below reports whether arg may be a number below 0, which Ruby forgets, and this parser does
// not, if a later flag replaces it.
func below(arg string) bool {
	n, err := strconv.Atoi(arg)
	return err == nil && n < 0
}

func TestFlagErrors(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--c=5"}, "--c is ambiguous: it may be --config, --checkpoint"},
		{[]string{"--log=5"}, "--log is ambiguous: it may be --logdir, --log_level, --logfile, --log-format"},
		{[]string{"--h"}, "--h is ambiguous: it may be --host, --help"},
		{[]string{"--prot=1"}, "unknown flag --prot; did you mean --port?"},
		{[]string{"--xyzzy"}, "unknown flag --xyzzy"},
		{[]string{"-x"}, "unknown flag -x"},
		{[]string{"-debug"}, "unknown flag -e; did you mean --debug?"},
		{[]string{"-p"}, "-p needs a value: -p PORT"},
		{[]string{"--stor"}, "--storage needs a value: --storage DIR"},
		{[]string{"--auth=yes"}, "--auth takes no value"},
		{[]string{"-a=yes"}, "-a takes no value"},
		{[]string{"--http"}, "--http needs a value: --http ADDR"},
		{[]string{"--no-console"}, "--no-console is not in this build yet"},
		{[]string{"--no-console"}, "--no-console is not in this build yet"},
		{[]string{"--chaos"}, "--chaos is not in this build yet"},
		{[]string{"--chaos=1"}, "--chaos is not in this build yet"},
	} {
		_, err := rewrite(tt.args)
		if err == nil || err.Error() != tt.want {
			t.Errorf("%q: error %v, want %s", tt.args, err, tt.want)
		}
		if exitCode(err) != exitUsage {
			t.Errorf("%q: exit code %d, want %d", tt.args, exitCode(err), exitUsage)
		}
	}
}

func TestNewerForms(t *testing.T) {
	for _, tt := range []struct {
		args, want []string
	}{
		{[]string{"-zD", "x", "-Ll", "-lwarn"}, []string{"--daemon", "--logdir=x", "--logfile=l", "--log-level=warn"}},
		{[]string{"--LOG_LEVEL=warn", "--log-f", "json"}, []string{"--log-level=warn", "--log-format=json"}},
		{[]string{"-P", "p", "-y", "d.yml", "-S5"}, []string{"--pidfile=p", "--dbyml=d.yml", "--session-cache=5"}},
		{[]string{"-aV", "-x"}, []string{"--auth", "--version"}},
		{[]string{"--ver", "--nonsense"}, []string{"--version"}},
		{[]string{"--ports-file=p", "--json"}, []string{"--ports-file=p", "--json"}},
	} {
		got, err := rewrite(tt.args, "--json")
		if err != nil {
			t.Errorf("%q: %v", tt.args, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%q: (-want +got)\n%s", tt.args, diff)
		}
	}
}

// FuzzRewrite: what comes out is in the one form that pflag reads, and is not changed by
// being rewritten again.
func FuzzRewrite(f *testing.F) {
	for _, tt := range forms {
		f.Add(strings.Join(tt.args, "\x00"))
	}
	f.Fuzz(func(t *testing.T, line string) {
		once, err := rewrite(strings.Split(line, "\x00"))
		if err != nil {
			return
		}
		for _, a := range once {
			if a == "--" {
				break
			}
			name, _, _ := strings.Cut(a, "=")
			if !slices.ContainsFunc(serveFlags, func(f serveFlag) bool { return "--"+f.name == name && f.era != absent }) {
				t.Errorf("%q becomes %q: there is no flag %s", line, once, name)
			}
		}
		twice, err := rewrite(once)
		if err != nil || !slices.Equal(once, twice) {
			t.Errorf("%q becomes %q, and again %q, %v", line, once, twice, err)
		}
	})
}
