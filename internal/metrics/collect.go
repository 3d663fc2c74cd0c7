package metrics

import (
	"strings"
	"time"
	"unicode/utf8"

	"stompserver/internal/broker"
	"stompserver/internal/session"
)

// server tells what concerns the whole process.
func (o out) server(cfg *Config) {
	if cfg.Listeners != nil {
		for _, addr := range cfg.Listeners() {
			o.put(upListeners, 1, addr)
		}
	}
	if cfg.Ready != nil {
		for check, ok := range cfg.Ready() {
			o.put(ready, truth(ok), check)
		}
	}
	if cfg.Reloaded != nil {
		at, ok := cfg.Reloaded()
		o.put(reloadOK, truth(ok))
		o.put(reloadTime, seconds(at))
	}
	if cfg.Certificates != nil {
		for file, end := range cfg.Certificates() {
			o.put(certExpiry, seconds(end), strings.ToValidUTF8(file, "?"))
		}
	}
	if cfg.Requests != nil {
		for key, n := range cfg.Requests() {
			o.put(httpRequests, float64(n), key[0], key[1])
		}
	}
	if cfg.StorageFree != nil {
		if n, ok := cfg.StorageFree(); ok {
			o.put(storageFree, float64(n))
		}
	}
}

var kindNames = [2]string{session.Queue: "queue", session.Topic: "topic"}

func (o out) sessions(f session.Figures) {
	for key, n := range f.Open {
		o.put(connections, float64(n), key[0], key[1])
	}
	for key, n := range f.Opened {
		o.put(connectionsOpened, float64(n), key[0], key[1])
	}
	o.each(connectionsClosed, f.Closed)
	o.each(authAttempts, f.Logins)
	o.each(permissionDenied, f.Denied)
	o.each(limitReached, f.Limits)
	o.each(errorsSent, f.Errors)
	o.each(framesReceived, f.Received)
	o.each(framesSent, f.Sent)
	o.each(bytesReceived, f.BytesIn)
	o.each(bytesSent, f.BytesOut)
	for k, name := range kindNames {
		o.put(messagesIn, float64(f.In[k]), name)
		o.put(messagesOut, float64(f.Out[k]), name)
		o.put(messagesAcked, float64(f.Acked[k]), name)
	}
	o.put(transactionsOpen, float64(f.Transactions))
}

func (o out) each(m *Metric, counts map[string]uint64) {
	for label, n := range counts {
		o.put(m, float64(n), label)
	}
}

// brokers tells the sums over all virtual hosts.
func (o out) brokers(all map[string]*broker.Broker) {
	var s broker.Stats
	var d broker.DurableStats
	var limit, used int64
	for _, b := range all {
		one, dur := b.Stats(), b.Durables()
		s.Redelivered += one.Redelivered
		s.Dropped += one.Dropped
		s.Unwanted += one.Unwanted
		s.Full += one.Full
		s.Ended += one.Ended
		s.Expired += one.Expired
		s.TimedOut += one.TimedOut
		s.Queues += one.Queues
		s.Topics += one.Topics
		s.QueueSubscriptions += one.QueueSubscriptions
		s.TopicSubscriptions += one.TopicSubscriptions
		s.Scheduled += one.Scheduled
		for i, n := range one.Dead {
			s.Dead[i] += n
		}
		d.Online += dur.Online
		d.Offline += dur.Offline
		d.Backlog += dur.Backlog
		limit, used = b.MemoryLimit(), one.MemoryUsed // which they share
	}
	o.put(messagesRedelivered, float64(s.Redelivered))
	o.put(messagesDropped, float64(s.Dropped), "topic", "slow")
	o.put(messagesDropped, float64(s.Unwanted), "topic", "unwanted")
	o.put(messagesDropped, float64(s.Full), "queue", "full")
	for i, reason := range broker.DeathReasons {
		o.put(messagesDead, float64(s.Dead[i]), reason)
	}
	o.put(messagesExpired, float64(s.Ended), "topic")
	o.put(messagesExpired, float64(s.Expired-min(s.Ended, s.Expired)), "queue")
	o.put(messagesTimedOut, float64(s.TimedOut))
	o.put(queues, float64(s.Queues))
	o.put(topics, float64(s.Topics))
	o.put(subscriptions, float64(s.QueueSubscriptions), "queue")
	o.put(subscriptions, float64(s.TopicSubscriptions), "topic")
	o.put(durables, float64(d.Online), "online")
	o.put(durables, float64(d.Offline), "offline")
	o.put(durableBacklog, float64(d.Backlog))
	o.put(scheduledMessages, float64(s.Scheduled))
	o.put(memoryLimit, float64(limit))
	o.put(memoryUsed, float64(used))
}

// other stands for the queues that have no figures of their own. No destination has that name.
const other = "_other"

// queues tells the figures of the first most queues of a virtual host by name, and the sum of the
// others: temporary ones, which come and go, are among them, and names that are no text. It returns
// how many have figures of their own.
func (o out) queues(host string, b *broker.Broker, most int) (own int) {
	now := time.Now().UnixMilli()
	var rest broker.QueueStats
	restConsumers, restOldest, left := 0, int64(0), 0
	for _, q := range b.Queues() {
		consumers, oldest := b.Consumers(q.Name)
		if own < most && !broker.IsTemporary(q.Name) && utf8.ValidString(q.Name) {
			o.queue(host, q, q.Name, consumers, oldest, now)
			own++
			continue
		}
		left++
		rest.Ready, rest.Unacked, rest.Bytes = rest.Ready+q.Ready, rest.Unacked+q.Unacked, rest.Bytes+q.Bytes
		rest.Enqueued, rest.Dequeued = rest.Enqueued+q.Enqueued, rest.Dequeued+q.Dequeued
		restConsumers += consumers
		if restOldest == 0 || oldest != 0 && oldest < restOldest {
			restOldest = oldest
		}
	}
	if left > 0 {
		o.queue(host, rest, other, restConsumers, restOldest, now)
	}
	return own
}

func (o out) queue(host string, q broker.QueueStats, name string, consumers int, oldest, now int64) {
	o.put(queueReady, float64(q.Ready), host, name)
	o.put(queueUnacked, float64(q.Unacked), host, name)
	o.put(queueBytes, float64(q.Bytes), host, name)
	o.put(queueConsumers, float64(consumers), host, name)
	o.put(queueIn, float64(q.Enqueued), host, name)
	o.put(queueOut, float64(q.Dequeued), host, name)
	age := 0.0
	if oldest > 0 {
		age = max(float64(now-oldest)/1000, 0)
	}
	o.put(queueOldest, age, host, name)
}
