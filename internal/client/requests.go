package client

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"stompserver/internal/frame"
)

// holdBytes is how much Hold gathers before it is written all the same.
const holdBytes = 64 << 10

// Write sends a frame as it is. It does not wait for an answer.
func (c *Conn) Write(f *frame.Frame) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.out = frame.Append(c.out, c.version, f)
	if c.held && len(c.out) < holdBytes {
		return c.Err()
	}
	return c.flush()
}

// Hold makes Write gather frames until Flush, or until there are many: it saves system
// calls. Calls that wait for an answer flush.
func (c *Conn) Hold() {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.held = true
}

// Flush writes what Hold has gathered.
func (c *Conn) Flush() error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	return c.flush()
}

// flush needs wmu.
func (c *Conn) flush() error {
	if err := c.Err(); err != nil {
		return err
	}
	if len(c.out) == 0 {
		return nil
	}
	_, err := c.conn.Write(c.out)
	c.written.Store(time.Now().UnixNano())
	c.out = c.out[:0]
	if cap(c.out) > 16*holdBytes {
		c.out = nil
	}
	return c.failed(err)
}

func (c *Conn) write(b []byte) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	_, err := c.conn.Write(b)
	c.written.Store(time.Now().UnixNano())
	return c.failed(err)
}

// failed turns an error of writing into why the connection ended. The reader mostly knows
// better than "broken pipe", and has only to be waited for: the connection is broken.
func (c *Conn) failed(err error) error {
	if err == nil {
		return nil
	}
	t := time.AfterFunc(time.Second, func() { c.end(fmt.Errorf("%w: %w", ErrBroken, cause(err))) })
	defer t.Stop()
	<-c.done
	return c.Err()
}

// Request sends f with a receipt header of its own and waits for that RECEIPT.
func (c *Conn) Request(ctx context.Context, f *frame.Frame) error {
	_, err := c.request(ctx, f, c.Write)
	return err
}

// An answer is what came of a request: the headers of its RECEIPT beyond those that each has.
type answer struct {
	header frame.Header
	err    error
}

// request is Request with another way of writing the frame.
func (c *Conn) request(ctx context.Context, f *frame.Frame, write func(*frame.Frame) error) (frame.Header, error) {
	got := make(chan answer, 1)
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return nil, c.err
	}
	c.nextID++
	id := "r-" + strconv.Itoa(c.nextID)
	c.receipts[id] = got
	c.room.Broadcast() // the reader must not wait for messages to be taken now
	c.mu.Unlock()

	g := *f
	g.Header = append(frame.Header{}, f.Header...)
	g.Header.Add("receipt", id)
	var a answer
	a.err = write(&g)
	if a.err == nil {
		a.err = c.Flush()
	}
	if a.err == nil {
		select {
		case a = <-got:
		case <-ctx.Done():
			a.err = &ReceiptError{f.Command, ctx.Err()}
		}
	} else {
		select {
		case a = <-got: // the frame was out already, and the server answered it and left
		default:
		}
	}
	c.mu.Lock()
	delete(c.receipts, id)
	c.mu.Unlock()
	return a.header, a.err
}

func (c *Conn) confirm(f *frame.Frame) {
	id := f.Header.Value("receipt-id")
	var more frame.Header
	for _, h := range f.Header {
		if name := string(h.Name); name != "receipt-id" && name != "content-length" {
			more.Add(name, string(h.Value))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch, ok := c.receipts[id]; ok {
		delete(c.receipts, id)
		ch <- answer{header: more}
	}
}

// SendFrame makes a SEND; header may be nil.
func SendFrame(destination string, header frame.Header, body []byte) *frame.Frame {
	f := &frame.Frame{Command: frame.Send, Body: body}
	f.Header.Add("destination", destination)
	f.Header = append(f.Header, header...)
	return f
}

// Send sends a message and does not wait.
func (c *Conn) Send(destination string, header frame.Header, body []byte) error {
	return c.Write(SendFrame(destination, header, body))
}

// SendConfirmed sends a message and waits until the server has taken it over.
func (c *Conn) SendConfirmed(ctx context.Context, destination string, header frame.Header, body []byte) error {
	return c.Request(ctx, SendFrame(destination, header, body))
}

// A BodyError says that the body of a SEND could not be read to its end.
type BodyError struct{ Err error }

func (e *BodyError) Error() string { return "client: the body cannot be read: " + e.Err.Error() }
func (e *BodyError) Unwrap() error { return e.Err }

// SendFrom is SendConfirmed of the next size bytes of body, which it hands on as they come. If
// they do not all come it ends the connection, for half a frame is out, and returns a
// *BodyError. What it returns else is what the RECEIPT says besides.
func (c *Conn) SendFrom(ctx context.Context, destination string, header frame.Header, body io.Reader, size int64) (frame.Header, error) {
	return c.request(ctx, SendFrame(destination, header, nil), func(f *frame.Frame) error {
		f.Header.Add("content-length", strconv.FormatInt(size, 10))
		c.wmu.Lock()
		defer c.wmu.Unlock()
		c.out = frame.Append(c.out, c.version, f)
		tail := len(c.out) - len("\x00\n")
		end := string(c.out[tail:])
		c.out = c.out[:tail]
		if err := c.flush(); err != nil {
			return err
		}
		source := source{r: io.LimitReader(body, size)}
		n, err := io.Copy(c.conn, &source)
		if err == nil && n < size {
			source.err = io.ErrUnexpectedEOF
		}
		if source.err != nil {
			err := &BodyError{source.err}
			c.end(err)
			return err
		}
		if err == nil {
			_, err = io.WriteString(c.conn, end)
		}
		c.written.Store(time.Now().UnixNano())
		return c.failed(err)
	})
}

// A source tells errors of reading from those of writing.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// AckConfirmed is Ack, and waits until the server has taken it over.
func (c *Conn) AckConfirmed(ctx context.Context, m *Message) error {
	if _, ok := m.Header.Get("ack"); !ok && c.version >= frame.V12 {
		return nil
	}
	return c.Request(ctx, m.settle(c.version, frame.Ack))
}

// A Transaction gathers messages and acknowledgements that take effect together.
type Transaction struct {
	c  *Conn
	id string
}

// Begin begins a transaction.
func (c *Conn) Begin() (*Transaction, error) {
	c.mu.Lock()
	c.nextID++
	t := &Transaction{c, "t-" + strconv.Itoa(c.nextID)}
	c.mu.Unlock()
	return t, c.Write(t.frame(frame.Begin))
}

func (t *Transaction) frame(cmd frame.Command) *frame.Frame {
	f := &frame.Frame{Command: cmd}
	f.Header.Add("transaction", t.id)
	return f
}

func (t *Transaction) join(f *frame.Frame) error {
	f.Header.Add("transaction", t.id)
	return t.c.Write(f)
}

// Send adds a message.
func (t *Transaction) Send(destination string, header frame.Header, body []byte) error {
	return t.join(SendFrame(destination, header, body))
}

// Ack adds the acknowledgement of m.
func (t *Transaction) Ack(m *Message) error { return t.join(m.settle(t.c.version, frame.Ack)) }

// Nack adds the refusal of m.
func (t *Transaction) Nack(m *Message) error { return t.join(m.settle(t.c.version, frame.Nack)) }

// Commit makes all of it take effect, and waits until it has.
func (t *Transaction) Commit(ctx context.Context) error {
	return t.c.Request(ctx, t.frame(frame.Commit))
}

// Abort forgets all of it.
func (t *Transaction) Abort(ctx context.Context) error {
	return t.c.Request(ctx, t.frame(frame.Abort))
}
