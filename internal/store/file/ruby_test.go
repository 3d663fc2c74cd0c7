package file_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stompserver/internal/frame"
	"stompserver/internal/message"
	"stompserver/internal/ruby/marshal"
	"stompserver/internal/store"
	"stompserver/internal/store/file"
)

// legacy is a copy of a directory that the Ruby server wrote.
func legacy(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "ruby"))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// contents is what a queue holds: Seq, body, and how often it was tried.
func contents(t *testing.T, b store.Backend, queue string) (got []string) {
	t.Helper()
	rs, more, err := b.Read(nil, queue, 0, 1<<20, 1<<40)
	if err != nil || more {
		t.Fatalf("Read: more is %v, error %v", more, err)
	}
	for _, r := range rs {
		got = append(got, fmt.Sprintf("%d %s %d", r.Seq, r.Msg.Body(), r.Attempts))
	}
	return got
}

func holds(t *testing.T, b store.Backend, queue string, want ...string) {
	t.Helper()
	if d := cmp.Diff(want, contents(t, b, queue)); d != "" {
		t.Errorf("%s: -want +got\n%s", queue, d)
	}
}

func info(t *testing.T, b store.Backend, queue string) store.Info {
	t.Helper()
	infos, err := b.Queues()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range infos {
		if i.Name == queue {
			i.Bytes = 0
			return i
		}
	}
	return store.Info{}
}

func closed(t *testing.T, f *file.File) {
	t.Helper()
	if err := f.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

var legacyTest = []string{"2 message 2 1", "3 message 3 0", "4 message 4 0", "5 message 5 0", "6 message 6 0", "7 message 7 0", "8 bin\x00ary\xff\x01 0"}

// TestLegacy takes over what the Ruby server left, keeps it over restarts, and goes on.
func TestLegacy(t *testing.T) {
	dir := legacy(t)
	for _, restart := range []string{"taken over", "after a stop", "after a kill"} {
		f := openWith(t, file.Config{Dir: dir, Unattended: true})
		t.Log(restart)
		holds(t, f, "/queue/test", legacyTest...)
		holds(t, f, "/queue/orders/eu_west", "1 Grüße ☃ 0")
		holds(t, f, "/queue/empty_body", "1  0")
		want := store.Info{Name: "/queue/test", First: 2, Last: 8, Count: 7, Enqueued: 8, Dequeued: 1}
		if got := info(t, f, "/queue/test"); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		rs, _, err := f.Read(nil, "/queue/orders/eu_west", 0, 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		fields := maps.Collect(rs[0].Msg.Fields)
		wantFields := map[string]string{
			"destination": "/queue/orders/eu_west", "content-length": "11", "persistent": "true", "expires": "0",
			"client-id": "c1", "max-exceptions": "3", "timestamp": "1795418394628",
		}
		if d := cmp.Diff(wantFields, fields); d != "" || rs[0].Msg.MaxDeliveries() != 4 || rs[0].Msg.Arrived() != 1795418394628 {
			t.Errorf("%d deliveries, arrived %d, -want +got\n%s", rs[0].Msg.MaxDeliveries(), rs[0].Msg.Arrived(), d)
		}
		if restart != "after a stop" { // a kill is played by a copy of the directory
			closed(t, f)
			continue
		}
		killed := t.TempDir()
		if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		closed(t, f)
		dir = killed
	}
	f := openWith(t, file.Config{Dir: dir, Unattended: true})
	if err := f.Write([]store.Record{
		{Kind: store.RecordAck, Queue: "/queue/test", Seq: 2, Last: 7},
		{Kind: store.RecordAck, Queue: "/queue/empty_body", Seq: 1, Last: 1},
		{Kind: store.RecordPut, Queue: "/queue/test", Seq: 9, Msg: message.Text("/queue/test", "new", 1)},
	}); err != nil {
		t.Fatal(err)
	}
	closed(t, f)
	if _, err := os.Stat(filepath.Join(dir, "_queue_empty_body")); !os.IsNotExist(err) {
		t.Errorf("an empty folder stays: %v", err)
	}
	if files, err := os.ReadDir(filepath.Join(dir, "_queue_test")); err != nil || len(files) != 2 {
		t.Errorf("the folder of /queue/test has %v, %v", files, err)
	}
	f = openWith(t, file.Config{Dir: dir, Unattended: true})
	holds(t, f, "/queue/test", "8 bin\x00ary\xff\x01 0", "9 new 0")
	closed(t, f)
}

// TestSameBytes writes a message of the legacy data again: but for its name and what is new
// it is the same.
func TestSameBytes(t *testing.T) {
	dir := t.TempDir()
	f := openWith(t, file.Config{Dir: dir})
	fr := frame.Frame{Header: frame.Header{{Name: []byte("x-n"), Value: []byte("2")}}, Body: []byte("message 2")}
	m, err := message.New(&fr, "/queue/test", message.At(1795418394273))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Write([]store.Record{{Kind: store.RecordPut, Queue: "/queue/test", Seq: 2, Msg: m}}); err != nil {
		t.Fatal(err)
	}
	closed(t, f)
	got := readOnly(t, filepath.Join(dir, "_queue_test"))
	want, err := os.ReadFile(filepath.Join("testdata", "ruby", "_queue_test", "vm-1795418394-273907-2"))
	if err != nil {
		t.Fatal(err)
	}
	field := func(name, value string) string {
		return fmt.Sprintf("I\"%c%s\x06;\x07TI\"%c%s\x06;\x07T", len(name)+5, name, len(value)+5, value)
	}
	want = bytes.Replace(want, []byte("000000c6"), fmt.Appendf(nil, "%08x", len(got)-16-9), 1)
	want = bytes.Replace(want, []byte("{\x09I\"\x10destination"), []byte("{\x0aI\"\x10destination"), 1)
	want = bytes.Replace(want, []byte(field("x-n", "2")), []byte(field("content-length", "9")+field("x-n", "2")), 1)
	want = bytes.Replace(want, []byte(field("receipt", "r2")), []byte(field("timestamp", "1795418394273")), 1)
	name := "\"\x1bvm-1795418394-273907-2"
	at := bytes.Index(got, []byte("message-id\x06;\x07T")) + len("message-id\x06;\x07T")
	end := at + bytes.Index(got[at:], []byte(":\x0a@body"))
	want = bytes.Replace(want, []byte(name), got[at:end], 1)
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

// TestRubyAfterCrash has the Ruby server at work on what a crash left, whose log it does not
// know: nothing that we confirmed is lost, and nothing acked comes back.
func TestRubyAfterCrash(t *testing.T) {
	dir := legacy(t)
	f := openWith(t, file.Config{Dir: dir, Unattended: true})
	put := func(seq store.Seq, body string) store.Record {
		return store.Record{Kind: store.RecordPut, Queue: "/queue/test", Seq: seq, Msg: message.Text("/queue/test", body, 1)}
	}
	if err := f.Write([]store.Record{put(9, "nine"), put(10, "ten"), {Kind: store.RecordAck, Queue: "/queue/test", Seq: 4, Last: 6}}); err != nil {
		t.Fatal(err)
	}
	closed(t, f)
	f = openWith(t, file.Config{Dir: dir, Unattended: true})
	if err := f.Write([]store.Record{
		{Kind: store.RecordAck, Queue: "/queue/test", Seq: 7, Last: 7}, {Kind: store.RecordAck, Queue: "/queue/test", Seq: 10, Last: 10}, put(11, "eleven"),
		{Kind: store.RecordPut, Queue: "/queue/other", Seq: 1, Msg: message.Text("/queue/other", "other", 1)},
	}); err != nil {
		t.Fatal(err)
	}
	after := t.TempDir()
	if err := os.CopyFS(after, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	closed(t, f)
	qinfo := filepath.Join(after, "qinfo")
	b, err := os.ReadFile(qinfo)
	if err != nil {
		t.Fatal(err)
	}
	v, err := marshal.Load(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range v.(*marshal.Hash).Get("queues").(*marshal.Hash).Pairs {
		if q.Key == marshal.UTF8("/queue/test") { // 2 was taken and put back behind 3
			items := q.Value.(*marshal.Hash).Get("frames").(*marshal.Array).Items
			items[0], items[1] = items[1], items[0]
		}
	}
	if b, err = marshal.Append(nil, v); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(qinfo, b, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		f = openWith(t, file.Config{Dir: after})
		holds(t, f, "/queue/test", "12 message 3 0", "13 message 2 1", "14 bin\x00ary\xff\x01 0", "15 nine 0", "16 eleven 0")
		holds(t, f, "/queue/other", "1 other 0")
		closed(t, f)
	}
}

// readOnly reads the one file of a folder.
func readOnly(t *testing.T, dir string) []byte {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("%s has %v, %v", dir, files, err)
	}
	b, err := os.ReadFile(filepath.Join(dir, files[0].Name()))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestStrangers has files that the index does not list, and messages that have no file.
func TestStrangers(t *testing.T) {
	dir := legacy(t)
	of := func(name string) string { return filepath.Join(dir, "_queue_test", name) }
	b, err := os.ReadFile(of("vm-1795418394-324183-3"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(of("vm-1795418394-375049-4")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(of("vm-1795418394-224313-1"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.Mkdir(outside, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "_queue_linked")); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	var log bytes.Buffer
	f := openWith(t, file.Config{Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
	holds(t, f, "/queue/test", slices.Concat(legacyTest[:2], legacyTest[3:])...)
	for _, want := range []string{"count=1 files=[_queue_test/vm-1795418394-224313-1]", "count=1 message_ids=[vm-1795418394-375049-4]"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not have %s:\n%s", want, log.String())
		}
	}
	closed(t, f)
	log.Reset()
	f = openWith(t, file.Config{Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if !strings.Contains(log.String(), "vm-1795418394-224313-1") || len(contents(t, f, "/queue/test")) != 6 {
		t.Errorf("after a restart: %q, %s", contents(t, f, "/queue/test"), log.String())
	}
	// A queue whose folder leads elsewhere is not written there.
	if err := f.Write([]store.Record{{Kind: store.RecordPut, Queue: "/queue/linked", Seq: 1, Msg: message.Text("/queue/linked", "x", 1)}}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err == nil || !strings.Contains(err.Error(), "no directory") {
		t.Errorf("Close: %v", err)
	}
	if files, err := os.ReadDir(outside); err != nil || len(files) > 0 {
		t.Errorf("outside there is %v, %v", files, err)
	}
}

// TestDamage changes, cuts and lengthens files: what is no message is refused, and with
// StartDamaged the rest is served.
func TestDamage(t *testing.T) {
	name := filepath.Join("_queue_test", "vm-1795418394-424807-5")
	for _, tt := range []struct {
		name   string
		change func([]byte) []byte
		file   string
		want   string
	}{
		{"cut", func(b []byte) []byte { return b[:len(b)-1] }, name, "_queue_test/vm-1795418394-424807-5: the message is damaged: it is to have 198 and 9 bytes"},
		{"empty", func([]byte) []byte { return nil }, name, "it has 0 bytes"},
		{"longer", func(b []byte) []byte { return append(b, 'x') }, name, "it is to have"},
		{"its lengths", func(b []byte) []byte { b[3] = 'z'; return b }, name, "it begins with"},
		{"its head", func(b []byte) []byte { b[18] = 'x'; return b }, name, "not Ruby data"},
		{"another class", func(b []byte) []byte { b[25] = 'x'; return b }, name, "it holds no frame"},
		{"the index", func(b []byte) []byte { return b[:100] }, "qinfo", "qinfo: marshal"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := legacy(t)
			at := filepath.Join(dir, tt.file)
			b, err := os.ReadFile(at)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(at, tt.change(b), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err = file.Open(file.Config{Dir: dir})
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "Nothing was changed") {
				t.Fatalf("Open: %v, want %s", err, tt.want)
			}
			f := openWith(t, file.Config{Dir: dir, StartDamaged: true})
			want := slices.Delete(slices.Clone(legacyTest), 3, 4)
			if tt.file == "qinfo" { // how often one was put back is not known then
				want = slices.Clone(legacyTest)
				want[0] = "2 message 2 0"
				holds(t, f, "/queue/orders/eu_west", "1 Grüße ☃ 0")
			}
			holds(t, f, "/queue/test", want...)
			closed(t, f)
		})
	}
	t.Run("while it runs", func(t *testing.T) {
		dir := legacy(t)
		closed(t, openWith(t, file.Config{Dir: dir}))
		if err := os.WriteFile(filepath.Join(dir, name), []byte("0000"), 0o600); err != nil {
			t.Fatal(err)
		}
		f := openWith(t, file.Config{Dir: dir})
		rs, _, err := f.Read(nil, "/queue/test", 0, 100, 1<<20)
		if err == nil || !strings.Contains(err.Error(), "vm-1795418394-424807-5: the message is damaged") || len(rs) != 3 {
			t.Errorf("%d messages, %v", len(rs), err)
		}
		closed(t, f)
		f = openWith(t, file.Config{Dir: dir, StartDamaged: true})
		holds(t, f, "/queue/test", slices.Delete(slices.Clone(legacyTest), 3, 4)...)
		closed(t, f)
	})
	t.Run("our state", func(t *testing.T) {
		dir := legacy(t)
		f := openWith(t, file.Config{Dir: dir})
		if err := f.Write([]store.Record{{Kind: store.RecordPut, Queue: "/queue/test", Seq: 9, Msg: message.Text("/queue/test", "new", 1)}}); err != nil {
			t.Fatal(err)
		}
		closed(t, f)
		if err := os.WriteFile(filepath.Join(dir, "stompserver.state"), []byte("stompserver state 1\nxx"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := file.Open(file.Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "stompserver.state: it is damaged") {
			t.Fatal(err)
		}
		f = openWith(t, file.Config{Dir: dir, StartDamaged: true})
		holds(t, f, "/queue/test", append(slices.Clone(legacyTest), "9 new 0")...)
		closed(t, f)
		if err := os.WriteFile(filepath.Join(dir, "stompserver.state"), []byte("stompserver state 5\nxx"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := file.Open(file.Config{Dir: dir, StartDamaged: true}); err == nil || !strings.Contains(err.Error(), "is not known") {
			t.Fatal(err)
		}
	})
}

// TestNames has queues whose names are no good names of folders, or the same.
func TestNames(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "storage")
	names := []string{
		"/queue/a/b", "/queue/a_b", "/queue/..", "/queue/../../etc", "..", ".", "/", "/queue/a\x00b", "/queue/" + strings.Repeat("x", 300),
		"/queue/" + strings.Repeat("ä", 124), `/queue/..\..\x`, "plain", "stompserver.state", "_queue_a_b", "/queue/a\nb:c",
	}
	f := openWith(t, file.Config{Dir: dir})
	for i, name := range names {
		sent := strings.ReplaceAll(name, "\x00", "") // no frame has one
		if err := f.Write([]store.Record{{Kind: store.RecordPut, Queue: name, Seq: 5, Msg: message.Text(sent, fmt.Sprint(i), 1)}}); err != nil {
			t.Fatalf("%q: %v", name, err)
		}
	}
	closed(t, f)
	f = openWith(t, file.Config{Dir: dir})
	for i, name := range names {
		holds(t, f, name, fmt.Sprintf("5 %d 0", i))
	}
	closed(t, f)
	above, err := os.ReadDir(filepath.Dir(dir))
	if err != nil || len(above) != 1 {
		t.Errorf("above the directory there is %v, %v", above, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), "_") {
			t.Errorf("a folder %q", e.Name())
		}
	}
}

// TestMessages has messages that the Ruby server's form cannot hold as they are.
func TestMessages(t *testing.T) {
	fields := func(nv ...string) (h frame.Header) {
		for i := 0; i < len(nv); i += 2 {
			h = append(h, frame.Field{Name: []byte(nv[i]), Value: []byte(nv[i+1])})
		}
		return h
	}
	ms := []*message.Message{}
	for _, h := range []frame.Header{
		fields(), fields("a", "b"), fields("a", "1", "a", "2"), fields("url", "http://a:80/b"), fields("back\\slash", "\\n"), fields("lines", "a\nb\rc"),
		fields("na:me", "x"), fields("timestamp", "yesterday"), fields("timestamp", "7"), fields("persistent", "1"), fields("max-exceptions", " 3 "),
		fields("ä", "ö\xff"), fields("", ""), fields("message-id", "x"), fields("original-destination", "/queue/z"), fields(" blank ", " x "),
	} {
		m, err := message.New(&frame.Frame{Header: h, Body: []byte("\x00ä\xff")}, "/queue/a", message.At(1234567890123))
		if err != nil {
			t.Fatal(err)
		}
		ms = append(ms, m)
	}
	ms = append(ms, ms[1].Redirect("/queue/b", "original-destination", "/queue/a").Redirect("/queue/a", "ack", "x"))
	dir := t.TempDir()
	f := openWith(t, file.Config{Dir: dir})
	for i, m := range ms {
		if err := f.Write([]store.Record{{Kind: store.RecordPut, Queue: "/queue/a", Seq: store.Seq(i + 1), Msg: m}}); err != nil {
			t.Fatal(err)
		}
	}
	closed(t, f)
	f = openWith(t, file.Config{Dir: dir})
	defer closed(t, f)
	rs, _, err := f.Read(nil, "/queue/a", 0, 100, 1<<20)
	if err != nil || len(rs) != len(ms) {
		t.Fatalf("%d messages, %v", len(rs), err)
	}
	for i, r := range rs {
		if want, got := ms[i].AppendRecord(nil), r.Msg.AppendRecord(nil); !bytes.Equal(want, got) {
			t.Errorf("got\n%q\nwant\n%q", got, want)
		}
	}
}

// original is where the Ruby server's own code is, if it is installed.
const original = "/usr/lib/ruby/vendor_ruby/stomp_server"

// TestRuby has Ruby read what was written, and if the Ruby server is installed its own code
// work on it; what that leaves is read again.
func TestRuby(t *testing.T) {
	ruby, err := exec.LookPath("ruby")
	if err != nil {
		t.Skip("ruby is not installed")
	}
	dir := t.TempDir()
	f := openWith(t, file.Config{Dir: dir})
	var rs []store.Record
	put := func(queue string, seq store.Seq, body string, nv ...string) {
		fr := frame.Frame{Body: []byte(body)}
		for i := 0; i < len(nv); i += 2 {
			fr.Header = append(fr.Header, frame.Field{Name: []byte(nv[i]), Value: []byte(nv[i+1])})
		}
		m, err := message.New(&fr, queue, message.At(1))
		if err != nil {
			t.Fatal(err)
		}
		rs = append(rs, store.Record{Kind: store.RecordPut, Queue: queue, Seq: seq, Msg: m})
	}
	for i, body := range []string{"one", "two", "", "\x00\xff"} {
		put("/queue/a", store.Seq(i+1), body, "x", "ä", "lines", "a\nb")
	}
	put("/queue/gone", 1, "gone")
	put("/queue/dead", 4, "dead", "max-exceptions", "1")
	put("/queue/dead", 5, "alive")
	put("/queue/ä", 1<<40, "far")
	put("/queue/"+strings.Repeat("x", 300), 1, "long")
	rs = append(rs, store.Record{Kind: store.RecordAttempts, Queue: "/queue/a", Seq: 2, Attempts: 3})
	if err := f.Write(rs); err != nil {
		t.Fatal(err)
	}
	closed(t, f)
	args := []string{filepath.Join("testdata", "queue.rb"), dir}
	if _, err := os.Stat(original); err == nil {
		args = append(args, original)
	}
	out, err := exec.Command(ruby, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ruby: %v\n%s", err, out)
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) != 4 || !strings.HasPrefix(line, "/queue/") {
			continue
		}
		sent, err := hex.DecodeString(fields[3])
		if err != nil {
			t.Fatalf("ruby: %s", out)
		}
		_, body, _ := strings.Cut(string(sent), "\n\n")
		got = append(got, fmt.Sprintf("%.10s %s %s %s", fields[0], fields[1], fields[2], body))
		if fields[0] == "/queue/a" && !strings.Contains(string(sent), "\nx:ä\nlines:a\\nb\ntimestamp:1\nmessage-id:") {
			t.Errorf("Ruby sends %q", sent)
		}
	}
	want := []string{
		"/queue/a 5 0 one", "/queue/a 5 3 two", "/queue/a 5 0 ", "/queue/a 5 0 \x00\xff", "/queue/dea 6 0 dead", "/queue/dea 6 0 alive", "/queue/gon 2 0 gone",
		"/queue/xxx 2 0 long", "/queue/ä 1099511627777 0 far",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("Ruby reads: -want +got\n%s", d)
	}
	if len(args) == 2 {
		t.Skip("the Debian package stompserver is not installed, so that Ruby only read")
	}
	f = openWith(t, file.Config{Dir: dir})
	holds(t, f, "/queue/a", "2 two 4", "3  0", "4 \x00\xff 0", "5 from Ruby 0")
	holds(t, f, "/queue/gone")
	holds(t, f, "/queue/dead", "5 alive 0")
	holds(t, f, "/queue/deadletter", "1 dead 0")
	holds(t, f, "/queue/new", "1 \xff\x00 0")
	holds(t, f, "/queue/ä", "1099511627776 far 0")
	closed(t, f)
}
