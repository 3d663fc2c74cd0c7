package session

import "stompserver/internal/frame"

// With Config.SoftErrors an ERROR about a frame that changed nothing leaves the connection open, as some brokers
// have it and their clients expect. What the protocol itself cannot go on after still ends it.

// bearable are the errors after which a connection can go on.
var bearable = map[string]bool{
	codeHeaderMissing: true, codeBadHeader: true, codeBadDestination: true, codeNotFound: true, codeUnroutable: true, codeAccess: true,
	codeBadSelector: true, codeSubscriptionExists: true, codeSubscriptionUnknown: true, codeAckUnknown: true,
	codeTransactionUnknown: true, codeTransactionExists: true, codeLimit: true, codeQueueFull: true,
	codeStorageFull: true, codeStorageRefused: true, codeStorageAway: true,
}

func (e *Error) bearable() bool { return bearable[e.Code] }

// bears reports whether the connection goes on after e, which is about f.
func (s *session) bears(f *frame.Frame, e *Error) bool {
	switch f.Command {
	case frame.Send, frame.Subscribe, frame.Unsubscribe, frame.Begin, frame.Commit, frame.Abort, frame.Ack, frame.Nack:
		return s.state == connected && e.bearable() && s.failure.Load() == nil
	}
	return false // who is not let in, or speaks otherwise, is not asked again
}

// tellSoftly answers f with e. A transaction that it was part of is over, since it can only be whole.
func (s *session) tellSoftly(f *frame.Frame, e *Error) {
	if name, ok := f.Header.Get("transaction"); ok && f.Command != frame.Begin {
		if tx := s.txs[string(name)]; tx != nil {
			delete(s.txs, string(name))
			s.srv.census.transactions.Add(-1)
			s.txSize -= tx.Bytes()
			tx.Abort()
		}
	}
	s.to = route{} // which may be half of one
	r := s.unsent
	s.unsent = nil
	s.answerSoftly(r, e)
	s.out.mu.Lock()
	s.owe()
	s.out.mu.Unlock()
}

// answerSoftly sends e, in the turn of r if that is not nil. Called from any goroutine.
func (s *session) answerSoftly(r *receipt, e *Error) {
	s.trace("error sent", "code", e.Code, "detail", e.Detail)
	s.srv.told(e)
	if r != nil {
		r.failed, r.refusable = e, true // so it is not used again
		s.confirm(r)
		return
	}
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	if !s.out.closed {
		s.out.frame(e.frame(), s.version)
		s.poke()
	}
}
