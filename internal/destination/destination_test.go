package destination

import (
	"errors"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name, in string
		hint     Hint
		kind     Kind
		want     string
	}{
		{"queue", "/queue/a", None, Queue, "/queue/a"},
		{"queue as in Ruby", "/queuea", None, Queue, "/queuea"},
		{"queue of nothing, as in Ruby", "/queue", None, Queue, "/queue"},
		{"slashes", "/queue/a/b", None, Queue, "/queue/a/b"},
		{"escaped slash", "/queue/a%2Fb", None, Queue, "/queue/a/b"},
		{"escaped percent", "/queue/a%252Fb", None, Queue, "/queue/a%2Fb"},
		{"escaped comma", "/queue/a%2cb", None, Queue, "/queue/a,b"},
		{"lone percent", "/queue/100%", None, Queue, "/queue/100%"},
		{"ActiveMQ", "queue://a", None, Queue, "/queue/a"},
		{"without slash", "queue/a", None, Queue, "/queue/a"},
		{"HornetQ", "jms.queue.a", None, Queue, "/queue/a"},
		{"RabbitMQ", "/amq/queue/a", None, Existing, "/queue/a"},
		{"anycast", "orders", Anycast, Queue, "/queue/orders"},
		{"anycast does not change a prefix", "/topic/a", Anycast, Topic, "/topic/a"},
		{"multicast", "orders", Multicast, Topic, "/topic/orders"},
		{"qualified", "orders::bill", Multicast, Topic, "/topic/orders"},
		{"qualified queue", "bill::bill", Anycast, Queue, "/queue/bill"},
		{"colons", "My::Class", None, Topic, "My::Class"},
		{"colons of a queue", "/queue/My::Class", Anycast, Queue, "/queue/My::Class"},
		{"topic", "/topic/a.b", None, Topic, "/topic/a.b"},
		{"topic of ActiveMQ", "topic://a", None, Topic, "/topic/a"},
		{"anything", "weird/dest", None, Topic, "weird/dest"},
		{"amq.topic", "/exchange/amq.topic/a.b", None, Topic, "/topic/a.b"},
		{"amq.direct", "/exchange/amq.direct/k", None, Topic, "/exchange/amq.direct/k"},
		{"amq.fanout", "/exchange/amq.fanout/ignored", None, Topic, "/exchange/amq.fanout"},
		{"amq.headers", "/exchange/amq.headers", None, Headers, "/exchange/amq.headers"},
		{"temporary", "/temp-queue/x", None, TempQueue, "/temp-queue/x"},
		{"reply", "/remote-temp-queue/ID:1", None, Reply, "/reply-queue/ID:1"},
		{"durable", "/dsub/news", None, Durable, "/dsub/news"},
		{"virtual topic", "Consumer.g.VirtualTopic.t", None, Queue, "/queue/Consumer.g.VirtualTopic.t"},
		{"multicast says otherwise", "Consumer.g.VirtualTopic.t", Multicast, Topic, "/topic/Consumer.g.VirtualTopic.t"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse(c.in, c.hint)
			if err != nil || len(got) != 1 || got[0].Kind != c.kind || got[0].Text != c.want || got[0].Spelt != c.in {
				t.Errorf("Parse(%q): %+v, %v, want %v %q", c.in, got, err, c.kind, c.want)
			}
		})
	}
}

func TestComposite(t *testing.T) {
	got, err := Parse("/queue/a, topic://b,/queue/c%2Cd", None)
	if err != nil || len(got) != 3 || got[0].Text != "/queue/a" || got[1].Text != "/topic/b" || got[2].Text != "/queue/c,d" || got[1].Spelt != "topic://b" {
		t.Errorf("%+v, %v", got, err)
	}
	for in, want := range map[string]string{
		"/queue/a,b,topic://c,d": "/queue/a /queue/b /topic/c /queue/d",
		"/topic/a,b,/weird":      "/topic/a /topic/b /weird",
		"a,b":                    "a b",
		"a,/queue/b,c":           "a /queue/b c",
	} {
		got, err := Parse(in, None)
		var texts []string
		for _, n := range got {
			texts = append(texts, n.Text)
		}
		if err != nil || strings.Join(texts, " ") != want {
			t.Errorf("Parse(%q): %q, %v, want %q", in, texts, err, want)
		}
	}
}

func TestErrors(t *testing.T) {
	for in, missing := range map[string]bool{
		"/queue/a,":            false,
		",/queue/a":            false,
		"/topic/":              false,
		"/temp-queue/":         false,
		"/exchange/mine/k":     true,
		"/exchange/amq.direct": false,
		"/exchange/":           false,
		"/exchange//k":         false,
	} {
		_, err := Parse(in, None)
		var e *Error
		if !errors.As(err, &e) || e.Missing != missing || e.Reason == "" {
			t.Errorf("Parse(%q): %v, want an error, missing=%v", in, err, missing)
		}
	}
}

// FuzzParse checks that the broker's own name of a destination is one that it stays with.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"/queue/a", "a%2Fb", "/exchange/amq.topic/a", "jms.topic.x,/queue/y", "%", "/temp-queue/%2C"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, err := Parse(text, None)
		if err != nil {
			return
		}
		for _, n := range all {
			escaped := strings.NewReplacer("%", "%25", ",", "%2C").Replace(n.Text)
			again, err := Parse(escaped, None)
			if err != nil || len(again) != 1 || again[0].Text != n.Text {
				t.Errorf("%q is %q, which is %+v, %v", text, n.Text, again, err)
			}
		}
	})
}
