package stompserver

import "time"

// limitSettings are those of what clients may use, and of destinations.
var limitSettings = []*Setting{
	Setting{Key: "limits.connections", Doc: "connections at once; 0 is no limit, here and below"}.count(func(s *Settings) *int { return &s.Config.Limits.Connections }),
	Setting{Key: "limits.connections_per_address", Doc: "connections from one address"}.count(func(s *Settings) *int { return &s.Config.Limits.ConnectionsPerAddress }),
	Setting{Key: "limits.connections_per_user", Doc: "connections of one user, where there are logins"}.count(func(s *Settings) *int { return &s.Config.Limits.ConnectionsPerUser }),
	Setting{Key: "limits.connect_rate", Doc: "new connections a second"}.count(func(s *Settings) *int { return &s.Config.Limits.ConnectRate }),
	Setting{Key: "limits.frame_rate", Doc: "frames a second of a user, or of a connection where there are no logins; more waits"}.count(func(s *Settings) *int { return &s.Config.Limits.FrameRate }),
	Setting{Key: "limits.byte_rate", Doc: "bytes a second, likewise"}.bytes(func(s *Settings) *int { return &s.Config.Limits.ByteRate }),
	Setting{Key: "limits.subscriptions", Doc: "subscriptions of a connection"}.count(func(s *Settings) *int { return &s.Config.Limits.Subscriptions }),
	Setting{Key: "limits.command", Doc: "bytes of a command line"}.bytes(func(s *Settings) *int { return &s.Config.Limits.Command }),
	Setting{Key: "limits.header", Doc: "bytes of a header line"}.bytes(func(s *Settings) *int { return &s.Config.Limits.Header }),
	Setting{Key: "limits.headers", Doc: "header lines of a frame"}.count(func(s *Settings) *int { return &s.Config.Limits.Headers }),
	Setting{Key: "limits.body", Doc: "bytes of a body"}.bytes(func(s *Settings) *int { return &s.Config.Limits.Body }),
	Setting{Key: "limits.frame_before_login", Doc: "bytes of a frame before the login"}.bytes(func(s *Settings) *int { return &s.Config.Limits.FrameBeforeLogin }),
	Setting{Key: "limits.transactions", Doc: "open transactions of a connection"}.count(func(s *Settings) *int { return &s.Config.Limits.Transactions }),
	Setting{Key: "limits.transaction_frames", Doc: "frames of a transaction"}.count(func(s *Settings) *int { return &s.Config.Limits.TransactionFrames }),
	Setting{Key: "limits.transaction_bytes", Doc: "bytes of the open transactions of a connection"}.bytes(func(s *Settings) *int { return &s.Config.Limits.TransactionBytes }),
	Setting{Key: "limits.uncommitted", Doc: "bytes of a connection on their way to the store, past which it is not read"}.bytes(func(s *Settings) *int { return &s.Config.Limits.Uncommitted }),
	Setting{Key: "limits.outbox", Doc: "bytes waiting for a client that does not read"}.bytes(func(s *Settings) *int { return &s.Config.Limits.Outbox }),
	Setting{Key: "limits.login_timeout", Doc: "time until CONNECT"}.span(func(s *Settings) *time.Duration { return &s.Config.Limits.LoginTimeout }),
	Setting{Key: "limits.idle_timeout", Doc: "silence after which a client without heart-beat is given up"}.span(func(s *Settings) *time.Duration { return &s.Config.Limits.IdleTimeout }),
	Setting{Key: "limits.memory", Doc: "bytes of all messages held, past which senders wait: a size, or a share of the machine's memory"}.of(aQuantity).with(setMemory, getMemory),
	Setting{Key: "limits.prefetch", Doc: "unacknowledged messages of a subscription that does not ask"}.count(func(s *Settings) *int { return &s.Config.Limits.Prefetch }),

	Setting{Key: "destinations.max_deliveries", Restart: true, Doc: "deliveries of a message until it goes to the dead letters"}.number(1, 1<<31-1, func(s *Settings) *int { return &s.Config.Destinations.MaxDeliveries }),
	Setting{Key: "destinations.dead_letter", Restart: true, Doc: "queue of the dead letters"}.with(setDeadLetter, func(s *Settings) string { return s.Config.Destinations.DeadLetter }),
	Setting{Key: "destinations.dead_letter_expired", Restart: true, Doc: "messages that expired become dead letters too"}.flag(func(s *Settings) *bool { return &s.Config.Destinations.DeadLetterExpired }),
	Setting{Key: "destinations.redelivery_delay", Restart: true, Doc: "time until a message that was given back is delivered again"}.span(func(s *Settings) *time.Duration { return &s.Config.Destinations.RedeliveryDelay }),
	Setting{Key: "destinations.redelivery_multiplier", Restart: true, Doc: "of that time, for each further time"}.factor(1, 100, func(s *Settings) *float64 { return &s.Config.Destinations.RedeliveryMultiplier }),
	Setting{Key: "destinations.redelivery_max_delay", Restart: true, Doc: "the longest such time; 0 is no bound"}.span(func(s *Settings) *time.Duration { return &s.Config.Destinations.RedeliveryMaxDelay }),
	Setting{Key: "destinations.redelivery_jitter", Restart: true, Doc: "share of that time by which it varies"}.factor(0, 1, func(s *Settings) *float64 { return &s.Config.Destinations.RedeliveryJitter }),
	Setting{Key: "destinations.ack_timeout", Doc: "time after which a delivery that was not acknowledged is given back; 0 never does"}.span(func(s *Settings) *time.Duration { return &s.Config.Destinations.AckTimeout }),
	Setting{Key: "destinations.dedupe_window", Restart: true, Doc: "time for which a dedupe-id is remembered; 0 does not"}.span(func(s *Settings) *time.Duration { return &s.Config.Destinations.DedupeWindow }),
	Setting{Key: "destinations.delete_idle_after", Restart: true, Doc: "forget an empty queue without consumers after; 0 never does"}.span(func(s *Settings) *time.Duration { return &s.Config.Destinations.DeleteIdleAfter }),
	Setting{Key: "destinations.rules", Doc: "properties of queues and topics by their names"}.of(aList).with(setRules, func(s *Settings) string { return s.Config.Destinations.rulesText }),
	Setting{Key: "destinations.slow_consumer", Doc: "what becomes past limits.outbox of messages for the subscriber of a topic: drop_oldest, disconnect, spill or block"}.word(func(s *Settings) *string { return &s.Config.Destinations.SlowConsumer }, slowPolicies...),
	Setting{Key: "destinations.max_pending", Doc: "messages that wait in the store for one subscriber, with spill; past that the oldest are dropped"}.number(1, 1<<31-1, func(s *Settings) *int { return &s.Config.Destinations.MaxPending }),
}
