package session

import (
	"strconv"

	"stompserver/internal/broker"
	"stompserver/internal/destination"
	"stompserver/internal/frame"
	"stompserver/internal/message"
)

// send answers SEND.
func (s *session) send(f *frame.Frame) error {
	right := s.access.rights.Load()
	if dest, _ := f.Header.Get("destination"); !s.to.fits(f, dest, right) {
		if err := s.look(f); err != nil {
			return err
		}
	}
	if s.to.to.Control() {
		if err := s.mayReply(f); err != nil {
			return err
		}
		if v, ok := f.Header.Get("JMSReplyTo"); ok && f.Header.Value("reply-to") == "" {
			f.Header.Add("reply-to", string(v))
		}
	}
	if s.b.MemoryFull() {
		if err := s.awaitMemory(s.b.MemoryFull); err != nil {
			return err
		}
	}
	if name, ok := f.Header.Get("transaction"); ok {
		return s.sendInTransaction(f, name)
	}
	if s.to.more != nil {
		return s.sendToAll(f)
	}
	s.sends[s.to.kind%kinds]++
	if !s.to.to.Wanted() {
		if done, err := s.unwanted(f); done || err != nil {
			return err
		}
	}
	m, err := s.message(f)
	if err != nil {
		return err
	}
	if m.Special() && m.Options().Mandatory && !s.to.to.Reaches(m) {
		return errNobody(s.to.spelt)
	}
	op := s.op(f, m.Size())
	if m.Special() {
		mayRefuse(op, m)
	}
	if !s.to.to.Send(m, op, &s.wake) {
		return s.retry(op, func() bool { return s.to.to.Send(m, op, &s.wake) })
	}
	return nil
}

// sent counts a message.
func (s *session) sent(to *broker.Address) {
	if to.Queue() {
		s.sends[Queue]++
	} else {
		s.sends[Topic]++
	}
}

// unwanted answers a SEND that nobody would get. As in every broker that is no error, unless
// the client says so. Done is false if somebody may be there when its time comes.
func (s *session) unwanted(f *frame.Frame) (done bool, err error) {
	o, err := message.OptionsOf(f, s.now)
	if err != nil {
		return false, err
	}
	if broker.Later(o, s.now.Milliseconds()) || o.Dedupe != "" || o.Retain != message.RetainNothing {
		return false, nil
	}
	if o.Mandatory {
		return false, errNobody(s.to.spelt)
	}
	if _, asked := f.Header.Get("receipt"); asked && s.to.to.Temporary() {
		return false, errNotFound("The temporary destination %s is gone, and its owner with it.", cut([]byte(s.to.spelt)))
	}
	s.receipt(f)
	return true, nil
}

func errNobody(dest string) *Error {
	return errf(codeUnroutable, "not_found", "Nobody would get a message to %s now, and SEND has the header mandatory:true.", cut([]byte(dest)))
}

// message makes the message of a SEND to the route's first destination.
func (s *session) message(f *frame.Frame) (*message.Message, error) {
	m, err := message.New(f, s.to.spelt, s.now)
	if err != nil {
		return nil, err
	}
	if s.cfg.marks {
		m = s.marked(m)
	}
	if s.cfg.Volatile {
		if _, said := f.Header.Get("persistent"); !said {
			m.SetVolatile()
		}
	}
	m.SetSender(uint32(s.id))
	if !m.Special() {
		return m, nil
	}
	if e := m.Expires(); e != 0 && e < thisCentury && s.srv.odd.CompareAndSwap(false, true) {
		s.log().Warn("the header expires of a message looks as if it was relative; it is when the message ends, in milliseconds since 1970", "expires", e, "destination", s.to.spelt)
	}
	if m.Options().OwnReply {
		return s.replyTo(m)
	}
	return m, nil
}

// thisCentury is the start of 2001, in milliseconds since 1970: what ends before is a mistake.
const thisCentury = 978_307_200_000

// marked is m with the headers that the server adds: no client says them for it.
func (s *session) marked(m *message.Message) *message.Message {
	fields := make([]string, 0, 4)
	if h := s.cfg.UserHeader; h != "" { // also where there is no login
		fields = append(fields, h, s.user.Name)
	}
	if h := s.cfg.TimestampHeader; h != "" {
		fields = append(fields, h, strconv.FormatInt(s.now.Milliseconds(), 10))
	}
	return m.Redirect(m.Destination(), fields...)
}

// sendToAll answers a SEND to several destinations: all get it, or none.
func (s *session) sendToAll(f *frame.Frame) error {
	if s.controls() {
		return errAlone(s.to.text)
	}
	m, err := s.message(f)
	if err != nil {
		return err
	}
	if m.Options().Mandatory && !s.reaches(m) {
		return errNobody(s.to.text)
	}
	s.sent(&s.to.to)
	for i := range s.to.more {
		s.sent(&s.to.more[i].to)
	}
	tx := s.b.Begin()
	s.sendParts(tx, m)
	op := s.op(f, tx.Bytes())
	mayRefuse(op, m)
	return s.commitOp(tx, op)
}

// mayRefuse has op, the SEND of m, tell of a refusal by its receipt, if m asks for that.
func mayRefuse(op *broker.Op, m *message.Message) {
	if r, ok := op.Token.(*receipt); ok && m.Options().Confirm {
		r.refusable = true
	}
}

// controls reports whether the route asks the broker for something.
func (s *session) controls() bool {
	ok := s.to.to.Control()
	for i := range s.to.more {
		ok = ok || s.to.more[i].to.Control()
	}
	return ok
}

func errAlone(dest string) *Error {
	return errf(codeBadDestination, "Invalid destination", "What is sent to %s is a request to the server; it can be part of no transaction and of no list of destinations.", cut([]byte(dest)))
}

// reaches reports whether each destination of the route has somebody who gets m.
func (s *session) reaches(m *message.Message) bool {
	ok := s.to.to.Reaches(m)
	for i := range s.to.more {
		ok = (s.to.more[i].copy || s.to.more[i].to.Reaches(m)) && ok
	}
	return ok
}

// sendParts adds m to tx for each destination of the route, and returns what it costs.
func (s *session) sendParts(tx *broker.Transaction, m *message.Message) {
	others := make([]*message.Message, len(s.to.more)) // made first: what is sent is the broker's, which marks it
	for i := range s.to.more {
		others[i] = m.Redirect(s.to.more[i].spelt)
	}
	tx.Send(&s.to.to, m)
	for i := range s.to.more {
		tx.Send(&s.to.more[i].to, others[i])
	}
}

// replyTo returns m with a reply-to that others can send to: the client gave a temporary
// name of its own. It is subscribed to for the client if that has not done so, as RabbitMQ
// does, under the name as id.
func (s *session) replyTo(m *message.Message) (*message.Message, error) {
	spelt, _ := m.Header("reply-to")
	all, err := destination.Parse(spelt, destination.None)
	if err != nil {
		return nil, err
	}
	if len(all) > 1 || len(spelt) > s.longest() {
		return nil, errHeader(frame.Send, "reply-to", []byte(spelt), "one destination")
	}
	topic := all[0].Kind == destination.TempTopic
	text, err := s.temporary(all[0].Text, topic)
	if err != nil {
		return nil, err
	}
	if !s.subs.has(text) {
		if err := s.subscribeToReplies(spelt, text, topic); err != nil {
			return nil, err
		}
	}
	r := m.Redirect(m.Destination(), "reply-to", text)
	r.SetSender(m.Sender())
	return r, nil
}
