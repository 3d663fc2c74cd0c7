package broker_test

import (
	"testing"

	"stompserver/internal/broker"
)

// BenchmarkKeptTopic is a SEND to a topic that keeps the last 10,000 messages, with one who follows it, and
// the same without keeping any.
func BenchmarkKeptTopic(b *testing.B) {
	for name, keep := range map[string]bool{"kept": true, "plain": false} {
		b.Run(name, func(b *testing.B) {
			br := newBroker(b, broker.Config{})
			if keep {
				keeping(b, br, "/topic/a", broker.Properties{MaxMessages: 10000, WhenFull: broker.DropHead})
			}
			subscribe(b, br, "/topic/a", broker.Auto, 0, 0).bodiless = true
			a, err := br.Address("/topic/a")
			if err != nil {
				b.Fatal(err)
			}
			m := newMessage(b, "/topic/a", "body")
			var w broker.Wake
			b.ReportAllocs()
			for b.Loop() {
				a.Send(m, broker.NewOp(nil), &w)
				w.Run()
			}
		})
	}
}
