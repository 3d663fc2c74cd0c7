package client

import (
	"context"
	"strconv"

	"stompserver/internal/frame"
)

// unread is how many bytes of messages that nobody has taken a connection holds before it
// stops reading from the server.
const unread = 16 << 20

// SubscribeOptions are what SUBSCRIBE may say.
type SubscribeOptions struct {
	Ack     string       // auto (the default), client or client-individual
	Header  frame.Header // further headers, as prefetch-count
	Confirm bool         // wait for the receipt; not every server sends one
}

// A Subscription receives the messages of one destination.
type Subscription struct {
	c           *Conn
	id          string
	destination string
	ready       chan struct{} // a token: there may be something in queue
	queue       []*Message    // guarded by c.mu
	bytes       int           // of queue, guarded by c.mu
}

// A Message is a MESSAGE frame. It belongs to whoever received it.
type Message struct {
	Header       frame.Header
	Body         []byte
	Subscription *Subscription
}

// Destination is where the message was sent to.
func (m *Message) Destination() string { return m.Header.Value("destination") }

// ID is the server's name of the message, "" if it has none.
func (m *Message) ID() string { return m.Header.Value("message-id") }

// settle makes the ACK or NACK of m: by id in 1.2, by message-id and subscription before.
func (m *Message) settle(v frame.Version, cmd frame.Command) *frame.Frame {
	f := &frame.Frame{Command: cmd}
	if v >= frame.V12 {
		f.Header.Add("id", m.Header.Value("ack"))
		return f
	}
	f.Header.Add("message-id", m.ID())
	if sub, ok := m.Header.Get("subscription"); ok {
		f.Header.Add("subscription", string(sub))
	}
	return f
}

// Ack acknowledges m, and in the mode client those before it. A message that needs no
// acknowledgement is left alone: in 1.2 that is one without the header ack.
func (c *Conn) Ack(m *Message) error { return c.settle(m, frame.Ack) }

// Nack gives m back, with the same exception.
func (c *Conn) Nack(m *Message) error { return c.settle(m, frame.Nack) }

func (c *Conn) settle(m *Message, cmd frame.Command) error {
	if _, ok := m.Header.Get("ack"); !ok && c.version >= frame.V12 {
		return nil
	}
	return c.Write(m.settle(c.version, cmd))
}

// Subscribe subscribes to a destination. With o.Confirm it waits until the server says
// that it took effect.
func (c *Conn) Subscribe(ctx context.Context, destination string, o SubscribeOptions) (*Subscription, error) {
	if o.Ack == "" {
		o.Ack = "auto"
	}
	s := &Subscription{c: c, destination: destination, ready: make(chan struct{}, 1)}
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return nil, c.err
	}
	c.nextID++
	s.id = "s-" + strconv.Itoa(c.nextID)
	c.subs[s.id] = s
	c.mu.Unlock()

	f := &frame.Frame{Command: frame.Subscribe}
	f.Header.Add("id", s.id)
	f.Header.Add("destination", destination)
	f.Header.Add("ack", o.Ack)
	f.Header = append(f.Header, o.Header...)
	var err error
	if o.Confirm {
		err = c.Request(ctx, f)
	} else if err = c.Write(f); err == nil {
		err = c.Flush()
	}
	if err != nil {
		c.forget(s)
		return nil, err
	}
	return s, nil
}

// Destination is what was subscribed to.
func (s *Subscription) Destination() string { return s.destination }

// Next waits for the next message. Those that came before the connection ended are still
// handed out, then Next returns why it ended.
func (s *Subscription) Next(ctx context.Context) (*Message, error) {
	for {
		if m, err := s.take(); m != nil || err != nil {
			return m, err
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *Subscription) take() (*Message, error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(s.queue) == 0 {
		return nil, c.err
	}
	m := s.queue[0]
	s.queue[0] = nil
	s.queue = s.queue[1:]
	s.bytes -= len(m.Body)
	c.room.Broadcast()
	if len(s.queue) > 0 || c.err != nil {
		s.wake()
	}
	return m, nil
}

// Unsubscribe ends the subscription. Messages on their way, and those not yet taken, are
// given up.
func (s *Subscription) Unsubscribe(ctx context.Context) error {
	f := &frame.Frame{Command: frame.Unsubscribe}
	f.Header.Add("id", s.id)
	f.Header.Add("destination", s.destination) // what 1.0 goes by
	err := s.c.Request(ctx, f)
	s.c.forget(s)
	return err
}

func (s *Subscription) wake() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

func (c *Conn) forget(s *Subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.subs, s.id)
	c.room.Broadcast()
}

// deliver hands a MESSAGE to its subscription. While too much lies there untaken it waits,
// so that the server feels it, unless somebody waits for a receipt, which may be behind.
func (c *Conn) deliver(f *frame.Frame) {
	m := &Message{Header: f.Header, Body: f.Body}
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.err == nil {
		s := c.find(f)
		if s == nil {
			return // left while it was on its way
		}
		if s.bytes < unread || len(c.receipts) > 0 {
			m.Subscription = s
			s.queue = append(s.queue, m)
			s.bytes += len(m.Body)
			s.wake()
			return
		}
		c.room.Wait()
	}
}

// find needs mu. A server of 1.0 names the subscription only if it likes to: then the
// destination tells.
func (c *Conn) find(f *frame.Frame) *Subscription {
	if id, ok := f.Header.Get("subscription"); ok {
		return c.subs[string(id)]
	}
	dest := f.Header.Value("destination")
	for _, s := range c.subs {
		if s.destination == dest {
			return s
		}
	}
	return nil
}
