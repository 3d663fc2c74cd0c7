package session

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/frame"
)

// options reads what a SUBSCRIBE asks for.
func (s *session) options(f *frame.Frame) (o broker.Options, err error) {
	o.Budget = &s.budget
	if o.Mode, err = ackMode(f); err != nil {
		return o, err
	}
	if err = prefetch(f, &o, s.cfg.Limits.Prefetch); err != nil {
		return o, err
	}
	if o.Priority, err = number(f, 0, -1<<31, 1<<31-1, "consumer-priority", "x-priority", "activemq.priority"); err != nil {
		return o, err
	}
	if o.Exclusive, err = flag(f, false, "exclusive", "activemq.exclusive"); err != nil {
		return o, err
	}
	timeout, err := number(f, int(s.cfg.AckTimeout.Milliseconds()), 0, math.MaxInt32, "ack-timeout", "x-consumer-timeout")
	if err != nil {
		return o, err
	}
	o.Timeout = time.Duration(timeout) * time.Millisecond
	if o.Pending, err = pending(f); err != nil {
		return o, err
	}
	if o.Slow, err = s.slowness(f); err != nil {
		return o, err
	}
	o.Filter, err = s.filter(f)
	return o, err
}

// slowness reads what is to become of messages of a topic that the client does not take in time. It may
// choose for itself, but not have others wait for it.
func (s *session) slowness(f *frame.Frame) (broker.Slowness, error) {
	o := s.cfg.Slow
	v, ok := f.Header.Get("slow-consumer")
	if !ok {
		return o, nil
	}
	policy, ok := broker.ParseSlow(string(bytes.TrimSpace(v)))
	if !ok || policy == broker.SlowBlock && o.Policy != broker.SlowBlock {
		return o, errHeader(f.Command, "slow-consumer", v, "drop_oldest, disconnect or spill, or block where the server has that anyway")
	}
	o.Policy = policy
	return o, nil
}

// pending reads how many messages of a topic are to wait for the client: -1, or not said, is as
// many as limits.outbox lets.
func pending(f *frame.Frame) (int, error) {
	switch n, err := number(f, -1, -1, math.MaxInt32, "max-pending", "activemq.maximumPendingMessageLimit"); {
	case err != nil || n < 0:
		return 0, err
	case n == 0:
		return -1, nil
	default:
		return n, nil
	}
}

// number reads a whole number by the first of its names that is there; def if none is.
func number(f *frame.Frame, def, least, most int, names ...string) (int, error) {
	for _, name := range names {
		v, ok := f.Header.Get(name)
		if !ok {
			continue
		}
		n, err := strconv.Atoi(string(bytes.TrimSpace(v)))
		if err != nil || n < least || n > most {
			return 0, errHeader(f.Command, name, v, fmt.Sprintf("a whole number from %d to %d", least, most))
		}
		return n, nil
	}
	return def, nil
}

// flag reads a boolean header by the first of its names that is there; def if none is.
func flag(f *frame.Frame, def bool, names ...string) (bool, error) {
	for _, name := range names {
		v, ok := f.Header.Get(name)
		if !ok {
			continue
		}
		switch string(bytes.ToLower(bytes.TrimSpace(v))) {
		case "true", "1":
			return true, nil
		case "false", "0", "":
			return false, nil
		}
		return false, errHeader(f.Command, name, v, "true or false")
	}
	return def, nil
}

func ackMode(f *frame.Frame) (broker.AckMode, error) {
	v, ok := f.Header.Get("ack")
	switch string(bytes.TrimSpace(v)) {
	case "auto", "none":
		return broker.Auto, nil
	case "client":
		return broker.Client, nil
	case "client-individual":
		return broker.ClientIndividual, nil
	}
	if !ok {
		return broker.Auto, nil
	}
	return 0, errHeader(f.Command, "ack", v, "auto, client or client-individual")
}

// prefetch reads what may be in flight: a number of deliveries, where 0 counts as 1 and -1 is
// without limit, and a number of bytes. Apollo's credit is both, and says behind them whether an
// ACK brings its credit back.
func prefetch(f *frame.Frame, o *broker.Options, def int) (err error) {
	o.Prefetch, err = number(f, def, -1, math.MaxInt32, "prefetch-count", "activemq.prefetchSize", "prefetch")
	if err != nil {
		return err
	}
	o.Bytes, err = number(f, 0, -1, math.MaxInt32, "prefetch-bytes", "consumer-window-size", "consumerWindowSize")
	if err != nil {
		return err
	}
	if v, ok := f.Header.Get("credit"); ok {
		n, bytes, auto, ok := parseCredit(string(v))
		if !ok {
			return errHeader(f.Command, "credit", v, "a number of messages, and perhaps of bytes and true or false, with commas between")
		}
		o.Prefetch, o.Bytes, o.Manual = n, bytes, !auto
	}
	if f.Header.Value("consumer-window-size") == "0" || f.Header.Value("consumerWindowSize") == "0" {
		o.Prefetch = 1 // Artemis: nothing waits with the client
	}
	o.Bytes = max(o.Bytes, 0)
	if o.Prefetch == 0 {
		o.Prefetch = 1
	}
	return nil
}

// parseCredit reads Apollo's "messages,bytes,auto", of which the last two may be missing.
func parseCredit(v string) (n, bytes int, auto, ok bool) {
	auto = true
	for i, p := range strings.Split(v, ",") {
		p = strings.TrimSpace(p)
		var err error
		switch {
		case i == 0:
			n, err = strconv.Atoi(p)
		case i == 1:
			bytes, err = strconv.Atoi(p)
		case i == 2 && (p == "true" || p == "false"):
			auto = p == "true"
		default:
			return 0, 0, false, false
		}
		if err != nil || n < -1 || n > math.MaxInt32 || bytes < 0 || bytes > math.MaxInt32 {
			return 0, 0, false, false
		}
	}
	return n, bytes, auto, true
}
