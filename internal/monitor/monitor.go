// Package monitor reports the statistics of every queue to the subscribers of
// /queue/monitor, in the words of the Ruby server's man page, and those of the broker to
// those of /topic/$sys/stats.
package monitor

import (
	"strconv"
	"sync"
	"time"

	"stompserver/internal/broker"
)

// Destination is where the statistics are sent. It is subscribed to like a topic: nothing
// is stored, and no ACK is wanted.
const Destination = "/queue/monitor"

// Interval is how often the Ruby server reported.
const Interval = 5 * time.Second

// A Monitor reports until it is stopped.
type Monitor struct {
	stop chan struct{}
	wg   sync.WaitGroup
}

// Start reports the queues of each broker, which are asked for each time, to its subscribers of
// Destination at each interval. There is no report as long as there is no queue, as in the Ruby
// server.
func Start(brokers func() []*broker.Broker, interval time.Duration) *Monitor {
	m := &Monitor{stop: make(chan struct{})}
	m.wg.Go(func() { // ended by Stop, which waits
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-m.stop:
				return
			case <-tick.C:
				for _, b := range brokers() {
					if b.Heard(Destination) { // to look at all queues of all brokers takes its time
						if queues := b.Queues(); len(queues) > 0 {
							b.Publish(Destination, Report(queues))
						}
					}
					b.TellStats()
				}
			}
		}
	})
	return m
}

// Stop ends the reports. It returns when none is under way.
func (m *Monitor) Stop() {
	close(m.stop)
	m.wg.Wait()
}

// Report is the body of a report: for each queue four lines of the form "name: value" and
// an empty line. As in the Ruby server size counts the messages that wait, and a message
// counts as dequeued while a client has it, so that enqueued is the sum of both.
func Report(queues []broker.QueueStats) string {
	var b []byte
	for _, q := range queues {
		b = append(b, "Queue: "...)
		b = append(b, q.Name...)
		b = append(b, "\nsize: "...)
		b = strconv.AppendInt(b, int64(q.Ready), 10)
		b = append(b, "\ndequeued: "...)
		b = strconv.AppendUint(b, q.Dequeued+uint64(q.Unacked), 10)
		b = append(b, "\nenqueued: "...)
		b = strconv.AppendUint(b, q.Enqueued, 10)
		b = append(b, "\n\n"...)
	}
	return string(b)
}
