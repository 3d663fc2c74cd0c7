package message

// Declares reports whether a header of SEND and SUBSCRIBE is about the queue that they make, and not about
// the message: no receiver sees it, which might make another such queue by sending on what it got. One that
// is known without effect is among them.
func Declares(name []byte) bool {
	if len(name) < 5 || len(name) > 31 {
		return false
	}
	switch string(name) {
	case "max-messages", "max_messages", "x-max-length", "quota_messages",
		"max-bytes", "max_bytes", "x-max-length-bytes", "quota",
		"when-full", "when_full", "x-overflow", "full_policy", "address-full-policy", "ring-size",
		"x-message-ttl", "x-expires", "x-max-age", "x-delivery-limit", "x-max-priority", "priorities",
		"durable", "auto-delete", "x-queue-type", "x-single-active-consumer", "last-value", "non-destructive",
		"consumers-before-dispatch", "delay-before-dispatch", "x-dead-letter-exchange", "x-dead-letter-routing-key",
		"x-queue-leader-locator", "x-stream-max-segment-size-bytes", "x-stream-filter-size-bytes":
		return true
	}
	return false
}
