package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stompserver/internal/frame"
	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/store/storetest"
	"stompserver/internal/transfer"
)

// newMessage makes one with headers, pairs of name and value.
func newMessage(t testing.TB, dest, body string, headers ...string) *message.Message {
	t.Helper()
	f := &frame.Frame{Command: frame.Send, Body: []byte(body)}
	for i := 0; i+1 < len(headers); i += 2 {
		f.Header.Add(headers[i], headers[i+1])
	}
	m, err := message.New(f, dest, message.At(1795418394273))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// filled is a backend with a bit of everything.
func filled(t testing.TB) *storetest.Reference {
	t.Helper()
	b := &storetest.Reference{}
	var rs []store.Record
	for i := range store.Seq(1500) {
		rs = append(rs, store.Record{Kind: store.RecordPut, Queue: "/queue/many", Seq: 10 + 2*i, Msg: newMessage(t, "/queue/many", fmt.Sprint(i))})
	}
	rs = append(rs,
		store.Record{Kind: store.RecordAttempts, Queue: "/queue/many", Seq: 14, Attempts: 3},
		store.Record{Kind: store.RecordMark, Queue: "/queue/many", Seq: 20},
		store.Record{Kind: store.RecordPut, Queue: "/queue/odd", Seq: 1, Msg: newMessage(t, "/queue/odd", "\x00\xff", "a:b\nc", "\r\\é", "x", "", "x", "2")},
		store.Record{Kind: store.RecordPut, Queue: "/queue/odd", Seq: 5, Msg: newMessage(t, "/queue/odd", "", "latin", "\xe9", "max-exceptions", "3", "timestamp", "7")},
		store.Record{Kind: store.RecordPut, Queue: "/queue/odd", Seq: 9, Msg: newMessage(t, "/queue/odd", "gone")},
		store.Record{Kind: store.RecordAck, Queue: "/queue/odd", Seq: 9, Last: 9},
		store.Record{Kind: store.RecordPut, Queue: "/queue/empty", Seq: 3, Msg: newMessage(t, "/queue/empty", "gone")},
		store.Record{Kind: store.RecordAck, Queue: "/queue/empty", Seq: 3, Last: 3},
	)
	if err := b.Write(rs); err != nil {
		t.Fatal(err)
	}
	return b
}

// content lists all that a backend holds.
func content(t testing.TB, b store.Backend, marks bool) []string {
	t.Helper()
	src := source(t, b)
	var all []string
	for _, i := range src.Queues {
		if marks {
			all = append(all, fmt.Sprintf("%s: %d messages, last %d, marked %d", i.Name, i.Count, i.Last, i.Marked))
		}
	}
	for r, err := range src.Messages {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%s %d %d %q", r.Queue, r.Seq, r.Attempts, r.Msg.AppendRecord(nil)))
	}
	return all
}

func source(t testing.TB, b store.Backend) transfer.Source {
	t.Helper()
	src, err := transfer.Of(b)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func TestCopy(t *testing.T) {
	from, to := filled(t), &storetest.Reference{}
	for _, again := range []string{"first", "again"} {
		told := 0
		sums, err := transfer.Copy(t.Context(), to, source(t, from), func(n int) { told = n })
		if err != nil {
			t.Fatal(again, err)
		}
		resumed := map[string]int{"first": 0, "again": 1500}[again]
		want := []transfer.Summary{
			{Queue: "/queue/many", Messages: 1500, Bytes: 10 + 90*2 + 900*3 + 500*4, Tried: 1, Resumed: resumed},
			{Queue: "/queue/odd", Messages: 2, Bytes: 2, Resumed: min(resumed, 2)},
		}
		if diff := cmp.Diff(want, sums); diff != "" || told != 1502 {
			t.Errorf("%s: told of %d; -want +got\n%s", again, told, diff)
		}
		if diff := cmp.Diff(content(t, from, true), content(t, to, true)); diff != "" {
			t.Errorf("%s: -want +got\n%s", again, diff)
		}
	}
}

// TestCopyGoesOn breaks the copy off after each write, and begins it again.
func TestCopyGoesOn(t *testing.T) {
	from := filled(t)
	want := content(t, from, true)
	broken := errors.New("broken off")
	for stop := 0; ; stop++ {
		writes := 0
		to := &storetest.Reference{Before: func([]store.Record) error {
			if writes++; writes > stop {
				return broken
			}
			return nil
		}}
		_, err := transfer.Copy(t.Context(), to, source(t, from), nil)
		if err == nil {
			if stop < 3 {
				t.Errorf("all in %d writes", stop)
			}
			return
		}
		if !errors.Is(err, broken) {
			t.Fatal(err)
		}
		to.Before = nil
		if _, err := transfer.Copy(t.Context(), to, source(t, from), nil); err != nil {
			t.Fatalf("broken off after %d writes, and then: %v", stop, err)
		}
		if diff := cmp.Diff(want, content(t, to, true)); diff != "" {
			t.Fatalf("broken off after %d writes: -want +got\n%s", stop, diff)
		}
	}
}

func TestCopyIsBrokenOff(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	from, to := filled(t), &storetest.Reference{}
	_, err := transfer.Copy(ctx, to, source(t, from), func(n int) {
		if n == 700 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || source(t, to).Count() != 700 {
		t.Errorf("%v, %d messages", err, source(t, to).Count())
	}
}

func TestCopyIntoWhatIsInUse(t *testing.T) {
	put := func(queue string, seq store.Seq, body string) []store.Record {
		return []store.Record{{Kind: store.RecordPut, Queue: queue, Seq: seq, Msg: newMessage(t, queue, body)}}
	}
	ack := func(queue string, seq store.Seq) store.Record {
		return store.Record{Kind: store.RecordAck, Queue: queue, Seq: seq, Last: seq}
	}
	for name, rs := range map[string][]store.Record{
		"another message":         put("/queue/odd", 5, "another"),
		"a message that is not":   put("/queue/odd", 4, "another"),
		"another queue":           put("/queue/mine", 1, "x"),
		"more":                    append(put("/queue/odd", 1, "x"), put("/queue/odd", 12, "x")...),
		"a queue that was in use": append(put("/queue/odd", 1, "x"), ack("/queue/odd", 1)),
	} {
		to := &storetest.Reference{}
		if err := to.Write(rs); err != nil {
			t.Fatal(err)
		}
		if _, err := transfer.Copy(t.Context(), to, source(t, filled(t)), nil); !errors.Is(err, transfer.ErrNotEmpty) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDump(t *testing.T) {
	from := filled(t)
	var text bytes.Buffer
	if _, err := transfer.Dump(t.Context(), &text, source(t, from), nil); err != nil {
		t.Fatal(err)
	}
	to := &storetest.Reference{}
	sums, err := transfer.Copy(t.Context(), to, transfer.Undump(&text, "dump"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(sums) != 2 || sums[0].Messages != 1500 || sums[1].Messages != 2 {
		t.Errorf("%+v", sums)
	}
	if diff := cmp.Diff(content(t, from, false), content(t, to, false)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// TestUndumpByHand reads lines as somebody else would write them.
func TestUndumpByHand(t *testing.T) {
	const text = `
{"queue":"/queue/a","body":"one"}
{"headers":{"destination":"/queue/a","type":"x","message-id":"h-1-1795418394-628170-1","n":"é"},"body_base64":"AP8="}

{"queue":"/queue/b"}
`
	to := &storetest.Reference{}
	if _, err := transfer.Copy(t.Context(), to, transfer.Undump(strings.NewReader(text), "dump"), nil); err != nil {
		t.Fatal(err)
	}
	var got []string
	for r, err := range source(t, to).Messages {
		if err != nil {
			t.Fatal(err)
		}
		h := maps.Collect(r.Msg.Fields)
		if stamp := h["timestamp"]; strings.HasPrefix(stamp, "17954183") {
			h["timestamp"] = "then"
		} else {
			delete(h, "timestamp") // now
		}
		got = append(got, fmt.Sprintf("%s %d %q %v", r.Queue, r.Seq, r.Msg.Body(), h))
	}
	want := []string{
		`/queue/a 1 "one" map[content-length:3 destination:/queue/a]`,
		`/queue/a 2 "\x00\xff" map[content-length:2 destination:/queue/a n:é timestamp:then type:x]`,
		`/queue/b 1 "" map[content-length:0 destination:/queue/b]`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

func TestUndumpErrors(t *testing.T) {
	for text, want := range map[string]string{
		"{":                          "dump:1: not a line of a dump: unexpected EOF",
		"\n{} {}":                    "dump:2: not a line of a dump: two values",
		`{"body":"x"}`:               "dump:1: it names no queue",
		`{"queue":"/topic/a"}`:       `dump:1: "/topic/a" is no queue: that begins with /queue, or with /dsub/`,
		`{"queue":"/queue/a\n"}`:     `dump:1: the queue's name "/queue/a\n" holds a control character`,
		`{"queue":"/queue/a","b":1}`: `dump:1: not a line of a dump: json: unknown field "b"`,
		`{"queue":"/queue/a","body":"","body_base64":"eA=="}`:                    "dump:1: both body and body_base64",
		"{\"queue\":\"/queue/a\",\"seq\":2}\n{\"queue\":\"/queue/a\",\"seq\":2}": "/queue/a: message 2 comes after 2",
	} {
		_, err := transfer.Copy(t.Context(), &storetest.Reference{}, transfer.Undump(strings.NewReader(text), "dump"), nil)
		if err == nil || err.Error() != want {
			t.Errorf("%s\n got %v\nwant %s", text, err, want)
		}
	}
}

// FuzzUndump: whatever a dump says, what is read of it can be dumped and read again.
func FuzzUndump(f *testing.F) {
	f.Add([]byte(`{"queue":"/queue/a","seq":7,"attempts":1,"arrived":5,"headers":[["a","b"]],"body":"x"}`))
	f.Add([]byte(`{"headers":{"destination":"/queue/a"},"body_base64":"AP8="}` + "\n" + `{"queue":"/queue/a"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		to := &storetest.Reference{}
		_, err := transfer.Copy(t.Context(), to, transfer.Undump(bytes.NewReader(text), "dump"), nil)
		if err != nil {
			return
		}
		var again bytes.Buffer
		if _, err := transfer.Dump(t.Context(), &again, source(t, to), nil); err != nil {
			t.Fatal(err)
		}
		to2 := &storetest.Reference{}
		if _, err := transfer.Copy(t.Context(), to2, transfer.Undump(&again, "again"), nil); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(content(t, to, false), content(t, to2, false)); diff != "" {
			t.Errorf("-first +second\n%s", diff)
		}
	})
}

// TestCopyFloor: Seqs of queues that are empty by now are not given again, and a copy of them can be
// begun again.
func TestCopyFloor(t *testing.T) {
	from := &storetest.Reference{}
	if err := from.Write([]store.Record{
		{Kind: store.RecordPut, Queue: "/queue/gone", Seq: 1000, Msg: newMessage(t, "/queue/gone", "")},
		{Kind: store.RecordAck, Queue: "/queue/gone", Seq: 1000, Last: 1000},
		{Kind: store.RecordPut, Queue: "/queue/a", Seq: 5, Msg: newMessage(t, "/queue/a", "")},
	}); err != nil {
		t.Fatal(err)
	}
	to := &storetest.Reference{}
	for range 3 {
		sums, err := transfer.Copy(t.Context(), to, source(t, from), nil)
		if err != nil || len(sums) != 1 {
			t.Fatal(sums, err)
		}
		infos, err := to.Queues()
		if err != nil {
			t.Fatal(err)
		}
		top := store.Seq(0)
		for _, i := range infos {
			if top = max(top, i.Last); i.Name == "/queue/a" && i.Last != 5 {
				t.Errorf("%+v", i)
			}
		}
		if top != 1000 {
			t.Errorf("the highest number is %d", top)
		}
	}
}
