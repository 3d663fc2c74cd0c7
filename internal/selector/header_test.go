package selector_test

import (
	"testing"

	"stompserver/internal/selector"
)

func TestNamesOfJMS(t *testing.T) {
	full := viewsOf("correlation-id", "c1", "persistent", "true", "destination", "/queue/a", "expires", "1700000000000",
		"message-id", "m1", "priority", "7", "redelivered", "true", "reply-to", "/queue/b", "timestamp", "1600000000000",
		"type", "order", "delivery-count", "3", "message-group", "g1", "message-group-seq", "9", "content-length", "12",
		"JMSType", "other", "JMSPriority", "1")
	none := viewsOf()
	for _, row := range []struct {
		env  selector.Env
		text string
		want string
	}{
		{full, "JMSCorrelationID = 'c1'", "true"},
		{full, "JMSDestination = '/queue/a' AND AMQAddress = '/queue/a'", "true"},
		{full, "JMSDeliveryMode = 'PERSISTENT'", "true"},
		{full, "AMQDurable = 'DURABLE'", "true"},
		{full, "JMSExpiration = 1700000000000 AND AMQExpiration = 1700000000000", "true"},
		{full, "JMSMessageID = 'm1' AND AMQUserID = 'm1'", "true"},
		{full, "JMSPriority = 7 AND AMQPriority = 7", "true"},
		{full, "JMSRedelivered = TRUE", "true"},
		{full, "JMSRedelivered", "true"},
		{full, "JMSReplyTo = '/queue/b'", "true"},
		{full, "JMSTimestamp = 1600000000000 AND AMQTimestamp = 1600000000000", "true"},
		{full, "JMSType = 'order'", "true"},
		{full, "JMSXDeliveryCount = 3", "true"},
		{full, "JMSXGroupID = 'g1' AND AMQGroupID = 'g1'", "true"},
		{full, "JMSXGroupSeq = 9", "true"},
		{full, "AMQSize = 12", "true"},
		{full, `"JMSType" = 'other'`, "true"}, // the header of that name
		{full, `"JMSPriority" = 1`, "true"},

		{none, "JMSPriority = 4 AND AMQPriority = 4", "true"},
		{none, "JMSExpiration = 0 AND AMQExpiration = 0", "true"},
		{none, "JMSDeliveryMode = 'PERSISTENT'", "true"},
		{none, "AMQDurable = 'DURABLE'", "true"},
		{none, "JMSRedelivered", "false"},
		{none, "JMSXDeliveryCount = 1", "true"},
		{none, "JMSXGroupSeq = 0", "true"},
		{none, "JMSType = 'order'", "unknown"},
		{none, "JMSXGroupID = ''", "unknown"},
		{none, "JMSCorrelationID IS NULL AND JMSReplyTo IS NULL AND AMQSize IS NULL", "true"},

		{viewsOf("persistent", "false"), "JMSDeliveryMode = 'NON_PERSISTENT' AND AMQDurable = 'NON_DURABLE'", "true"},
		{viewsOf("persistent", " FALSE "), "JMSDeliveryMode = 'NON_PERSISTENT'", "true"},
		{viewsOf("persistent", "0"), "JMSDeliveryMode = 'NON_PERSISTENT'", "true"},
		{viewsOf("persistent", "what"), "JMSDeliveryMode = 'PERSISTENT'", "true"},
		{viewsOf("JMSXGroupID", "a"), "JMSXGroupID = 'a'", "true"},
		{viewsOf("message_group", "a"), "AMQGroupID = 'a'", "true"},
		{viewsOf("_AMQ_GROUP_ID", "a"), "JMSXGroupID = 'a'", "true"},
		{viewsOf("JMSXGroupSeq", "-1"), "JMSXGroupSeq = -1", "true"},
	} {
		checkTruth(t, row.env, row.text, row.want)
	}
}
