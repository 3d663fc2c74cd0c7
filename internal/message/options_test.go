package message_test

import (
	"errors"
	"testing"
	"time"

	"stompserver/internal/message"
)

func options(t *testing.T, fields ...string) *message.Message {
	t.Helper()
	m, err := message.New(sendFrame(true, "x", fields...), "/queue/a", message.At(1_000))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestOptionsInEverySpelling(t *testing.T) {
	normal := message.Options{Priority: message.DefaultPriority}
	with := func(change func(o *message.Options)) message.Options {
		o := normal
		change(&o)
		return o
	}
	group := with(func(o *message.Options) { o.Group = "g" })
	dedupe := with(func(o *message.Options) { o.Dedupe = "d" })
	later := with(func(o *message.Options) { o.Due = 1_500 })
	for _, test := range []struct {
		fields []string
		want   message.Options
	}{
		{nil, normal},
		{[]string{"priority", "4"}, normal},
		{[]string{"expires", "0"}, normal},
		{[]string{"delay", "0"}, normal},
		{[]string{"expires", "9000"}, with(func(o *message.Options) { o.Expires = 9_000 })},
		{[]string{"ttl", "250"}, with(func(o *message.Options) { o.Expires = 1_250 })},
		{[]string{"expiration", "250"}, with(func(o *message.Options) { o.Expires = 1_250 })},
		{[]string{"expires", "9000", "ttl", "250"}, with(func(o *message.Options) { o.Expires = 1_250 })},
		{[]string{"ttl", "250", "expires", "1100"}, with(func(o *message.Options) { o.Expires = 1_100 })},
		{[]string{"ttl", "250", "delay", "500"}, with(func(o *message.Options) { o.Expires, o.Due = 1_750, 1_500 })},
		{[]string{"delay", "500"}, later},
		{[]string{"x-delay", "500"}, later},
		{[]string{"AMQ_SCHEDULED_DELAY", "500"}, later},
		{[]string{"deliver-at", "1500"}, later},
		{[]string{"AMQ_SCHEDULED_TIME", "1500"}, later},
		{[]string{"_AMQ_SCHED_DELIVERY", "1500"}, later},
		{[]string{"AMQ_SCHEDULED_PERIOD", "20", "AMQ_SCHEDULED_REPEAT", "-1", "AMQ_SCHEDULED_CRON", "0 * * * *"},
			with(func(o *message.Options) { o.Period, o.Repeat, o.Cron = 20*time.Millisecond, -1, "0 * * * *" })},
		{[]string{"priority", "200"}, with(func(o *message.Options) { o.Priority = 9 })},
		{[]string{"priority", "0"}, with(func(o *message.Options) { o.Priority = 0 })},
		{[]string{"message-group", "g"}, group},
		{[]string{"JMSXGroupID", "g"}, group},
		{[]string{"message_group", "g"}, group},
		{[]string{"_AMQ_GROUP_ID", "g"}, group},
		{[]string{"JMSXGroupID", "g", "JMSXGroupSeq", "-1"}, with(func(o *message.Options) { o.Group, o.GroupEnd = "g", true })},
		{[]string{"dedupe-id", "d"}, dedupe},
		{[]string{"_AMQ_DUPL_ID", "d"}, dedupe},
		{[]string{"Nats-Msg-Id", "d"}, dedupe},
		{[]string{"idempotency-key", "d"}, dedupe},
		{[]string{"x-deduplication-header", "d"}, dedupe},
		{[]string{"_AMQ_LVQ_NAME", "k"}, with(func(o *message.Options) { o.Key = "k" })},
		{[]string{"retain", "set"}, with(func(o *message.Options) { o.Retain = message.RetainSet })},
		{[]string{"retain", "remove"}, with(func(o *message.Options) { o.Retain = message.RetainRemove })},
		{[]string{"mandatory", "true"}, with(func(o *message.Options) { o.Mandatory = true })},
		{[]string{"confirm", "1"}, with(func(o *message.Options) { o.Confirm = true })},
		{[]string{"reply-to", "/temp-queue/a"}, with(func(o *message.Options) { o.OwnReply = true })},
		{[]string{"reply-to", "/queue/a"}, normal},
	} {
		m := options(t, test.fields...)
		if got := *m.Options(); got != test.want {
			t.Errorf("%q: got %+v, want %+v", test.fields, got, test.want)
		}
		if m.Special() != (test.want != normal) {
			t.Errorf("%q: Special is %v", test.fields, m.Special())
		}
		back, err := message.ParseRecord(m.AppendRecord(nil))
		if err != nil || *back.Options() != test.want {
			t.Errorf("%q stored and read: %+v, %v", test.fields, back.Options(), err)
		}
	}
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, test := range [][2]string{
		{"expires", "soon"}, {"ttl", "-1"}, {"delay", "1.5"}, {"priority", "high"}, {"retain", "perhaps"},
		{"AMQ_SCHEDULED_REPEAT", "-2"}, {"AMQ_SCHEDULED_PERIOD", "99999999999999999999"}, {"mandatory", "2"},
	} {
		_, err := message.New(sendFrame(true, "", test[0], test[1]), "/queue/a", message.At(1))
		var he *message.HeaderError
		if !errors.As(err, &he) || he.Name != test[0] {
			t.Errorf("%q: got error %v", test, err)
		}
	}
}

func TestATimeToLiveIsSaidAsATime(t *testing.T) {
	if v, ok := options(t, "ttl", "250").Header("expires"); !ok || v != "1250" {
		t.Errorf("expires is %q, %v", v, ok)
	}
}

func TestRedirectReadsWhatItChanged(t *testing.T) {
	m := options(t, "delay", "500", "ttl", "250", "priority", "9", "k", "v").
		Redirect("/queue/b", "delay", "", "ttl", "")
	if got, want := *m.Options(), (message.Options{Expires: 1_750, Priority: 9}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if _, ok := m.Header("delay"); ok {
		t.Error("delay is still there")
	}
	if v, _ := m.Header("k"); v != "v" {
		t.Error("k is gone")
	}
}
