package message_test

import (
	"errors"
	"strings"
	"testing"

	"stompserver/internal/frame"
	"stompserver/internal/message"
)

func sendFrame(plain bool, body string, fields ...string) *frame.Frame {
	f := &frame.Frame{Command: frame.Send, Body: []byte(body), Plain: plain}
	for i := 0; i < len(fields); i += 2 {
		f.Header.Add(fields[i], fields[i+1])
	}
	return f
}

func wire(m *message.Message, v frame.Version) string {
	return string(append(m.AppendHead(nil, v), m.Rest()...))
}

func TestNewKeepsWhatIsTheSendersAndDropsWhatIsTheBrokers(t *testing.T) {
	f := sendFrame(true, "hi", "destination", "/queue/a", "receipt", "r", "transaction", "t",
		"type", "order", "message-id", "forged", "subscription", "s", "ack", "a",
		"redelivered", "true", "delivery-count", "9", "JMSXUserID", "root", "content-length", "99", "type", "second")
	m, err := message.New(f, "/queue/a", message.At(1234))
	if err != nil {
		t.Fatal(err)
	}
	want := "destination:/queue/a\ncontent-length:2\ntype:order\nx-client-message-id:forged\ntype:second\ntimestamp:1234\n\nhi\x00\n"
	if got := wire(m, frame.V12); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	whole, ok := m.Whole(frame.V10)
	if !ok || string(whole) != want {
		t.Errorf("Whole: got %q, %v", whole, ok)
	}
}

func TestHeadInEachVersion(t *testing.T) {
	f := sendFrame(false, "", "k:1\n", "a:b\\c\r\nd", "timestamp", "5")
	m, err := message.New(f, "/topic/x:y", message.At(1))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		v    frame.Version
		want string
	}{
		{frame.V12, "destination:/topic/x\\cy\ncontent-length:0\nk\\c1\\n:a\\cb\\\\c\\r\\nd\ntimestamp:5\n\n"},
		{frame.V11, "destination:/topic/x\\cy\ncontent-length:0\nk\\c1\\n:a\\cb\\\\c\\nd\ntimestamp:5\n\n"},
		{frame.V10, "destination:/topic/x:y\ncontent-length:0\nk\\c1\\n:a:b\\c\\r\\nd\ntimestamp:5\n\n"},
	} {
		if got := string(m.AppendHead(nil, test.v)); got != test.want {
			t.Errorf("%v:\ngot  %q\nwant %q", test.v, got, test.want)
		}
	}
	if _, ok := m.Whole(frame.V11); ok {
		t.Error("a head with escapes was offered as it is to 1.1")
	}
}

func TestHeadersOfTheBrokerAreRead(t *testing.T) {
	for _, test := range []struct {
		name, header, value string
		bad, volatile       bool
		max                 uint32
	}{
		{name: "persistent false", header: "persistent", value: "false", volatile: true},
		{name: "persistent 1", header: "persistent", value: "1"},
		{name: "persistent nonsense", header: "persistent", value: "maybe", bad: true},
		{name: "two exceptions are three tries", header: "max-exceptions", value: " 2 ", max: 3},
		{name: "no exception is one try", header: "max-exceptions", value: "0", max: 1},
		{name: "exceptions nonsense", header: "max-exceptions", value: "-1", bad: true},
	} {
		m, err := message.New(sendFrame(true, "", test.header, test.value), "/queue/a", message.At(1))
		var he *message.HeaderError
		if test.bad {
			if !errors.As(err, &he) || he.Name != test.header || !strings.Contains(err.Error(), test.header) {
				t.Errorf("%s: got error %v", test.name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if m.Volatile() != test.volatile || m.MaxDeliveries() != test.max {
			t.Errorf("%s: got volatile %v, max %d", test.name, m.Volatile(), m.MaxDeliveries())
		}
	}
}

func TestOwnedBodyIsNotCopied(t *testing.T) {
	body := make([]byte, 100, 102)
	f := &frame.Frame{Command: frame.Send, Body: body, Plain: true, Owned: true}
	m, err := message.New(f, "/queue/a", message.At(1))
	if err != nil {
		t.Fatal(err)
	}
	if &m.Body()[0] != &body[0] {
		t.Error("the body was copied")
	}
	if !strings.HasSuffix(wire(m, frame.V10), "\x00\n") {
		t.Error("the frame has no end")
	}
	if r := m.Redirect("/queue/b"); &r.Body()[0] != &body[0] {
		t.Error("Redirect copied a large body")
	}
}

func TestRedirect(t *testing.T) {
	m, err := message.New(sendFrame(true, "b", "k", "v", "original-destination", "forged"), "/queue/a", message.At(7))
	if err != nil {
		t.Fatal(err)
	}
	r := m.Redirect("/queue/deadletter", "original-destination", "/queue/a")
	want := "destination:/queue/deadletter\ncontent-length:1\noriginal-destination:/queue/a\nk:v\ntimestamp:7\n\nb\x00\n"
	if got := wire(r, frame.V12); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if r.Destination() != "/queue/deadletter" || r.Arrived() != 7 {
		t.Errorf("got destination %q, arrived %d", r.Destination(), r.Arrived())
	}
	odd := m.Redirect("/queue/a:b", "original-destination", "/queue/a")
	if got, ok := odd.Header("destination"); !ok || got != "/queue/a:b" {
		t.Errorf("a destination with a colon: got %q", got)
	}
}

func TestText(t *testing.T) {
	m := message.Text("/queue/monitor", "size: 1\n", 3)
	if got, want := wire(m, frame.V10), "destination:/queue/monitor\ncontent-length:8\ntimestamp:3\n\nsize: 1\n\x00\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// FuzzHeaders checks that no name or value, whatever its bytes, can forge a line for a
// subscriber of any version, and that 1.2 reads back what was sent.
func FuzzHeaders(f *testing.F) {
	f.Add("k", "v", "/queue/a")
	f.Add("a:b\n", "\r\n\\c:destination:/queue/x", "/topic/\\")
	f.Fuzz(func(t *testing.T, name, value, dest string) {
		if strings.ContainsRune(name+value+dest, 0) || name == "" {
			return // the decoder lets neither pass
		}
		m, err := message.New(sendFrame(false, "", name, value), dest, message.At(1))
		if err != nil {
			return
		}
		want := -1
		for _, v := range []frame.Version{frame.V12, frame.V11, frame.V10} {
			head := string(m.AppendHead(nil, v))
			if !strings.HasSuffix(head, "\n\n") || strings.Contains(strings.TrimSuffix(head, "\n"), "\n\n") {
				t.Fatalf("%v: the empty line is not the last: %q", v, head)
			}
			lines := strings.Count(head, "\n")
			if want < 0 {
				want = lines
			}
			if lines != want || strings.Contains(head, "\r") {
				t.Fatalf("%v: %d lines instead of %d: %q", v, lines, want, head)
			}
		}
		if got, ok := m.Header("destination"); !ok || got != dest {
			t.Fatalf("destination: got %q, want %q", got, dest)
		}
	})
}

func BenchmarkNew(b *testing.B) {
	f := sendFrame(true, strings.Repeat("x", 100), "destination", "/queue/bench", "content-length", "100")
	now := message.At(1764000000000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := message.New(f, "/queue/bench", now); err != nil {
			b.Fatal(err)
		}
	}
}
