package session

import (
	"stompserver/internal/broker"
	"stompserver/internal/frame"
)

// transactionName returns f's header transaction, which BEGIN, COMMIT and ABORT must have.
func transactionName(f *frame.Frame) (string, error) {
	name, ok := f.Header.Get("transaction")
	if !ok || len(name) == 0 {
		return "", errMissing(f.Command, "transaction")
	}
	return string(name), nil
}

func errNoTransaction(f *frame.Frame, name []byte) *Error {
	return errf(codeTransactionUnknown, "Bad transaction", "%s names the transaction %s, which is not open on this connection.", f.Command, cut(name))
}

// begin answers BEGIN.
func (s *session) begin(f *frame.Frame) error {
	name, err := transactionName(f)
	if err != nil {
		return err
	}
	if s.txs[name] != nil {
		return errf(codeTransactionExists, "Bad transaction", "The transaction %s is open already.", cut([]byte(name)))
	}
	if len(s.txs) >= s.lim.Transactions {
		return errLimit("limits.transactions", s.lim.Transactions, "This connection has too many open transactions.")
	}
	if s.txs == nil {
		s.txs = make(map[string]*broker.Transaction)
	}
	s.txs[name] = s.b.Begin()
	s.srv.census.transactions.Add(1)
	s.receipt(f)
	return nil
}

// joined returns the transaction that f wants to join, or nil if it names none.
func (s *session) joined(f *frame.Frame) (*broker.Transaction, error) {
	name, ok := f.Header.Get("transaction")
	if !ok {
		return nil, nil
	}
	tx := s.txs[string(name)]
	if tx == nil {
		return nil, errNoTransaction(f, name)
	}
	if tx.Len() >= s.lim.TransactionFrames {
		return nil, errLimit("limits.transaction_frames", s.lim.TransactionFrames, "The transaction %s has too many frames.", cut(name))
	}
	return tx, nil
}

// sendInTransaction makes a SEND join; its receipt says that it has joined, and the
// receipt of COMMIT that it happened.
func (s *session) sendInTransaction(f *frame.Frame, name []byte) error {
	tx, err := s.joined(f)
	if err != nil {
		return err
	}
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
	if s.txSize+m.Size()*(1+len(s.to.more)) > s.lim.TransactionBytes {
		return errLimit("limits.transaction_bytes", s.lim.TransactionBytes, "The open transactions of this connection are too large with the one of %s.", cut(name))
	}
	before := tx.Bytes()
	s.sendParts(tx, m)
	s.txSize += tx.Bytes() - before
	s.receipt(f)
	return nil
}

// leaveTransaction takes the named transaction out of the table.
func (s *session) leaveTransaction(f *frame.Frame) (*broker.Transaction, error) {
	name, err := transactionName(f)
	if err != nil {
		return nil, err
	}
	tx := s.txs[name]
	if tx == nil {
		return nil, errNoTransaction(f, []byte(name))
	}
	delete(s.txs, name)
	s.srv.census.transactions.Add(-1)
	s.txSize -= tx.Bytes()
	return tx, nil
}

// commit answers COMMIT.
func (s *session) commit(f *frame.Frame) error {
	tx, err := s.leaveTransaction(f)
	if err != nil {
		return err
	}
	tx.Name(commitName(f))
	queues, topics := tx.Sent()
	s.sends[Queue] += uint32(queues)
	s.sends[Topic] += uint32(topics)
	return s.commitOp(tx, s.op(f, tx.Bytes()))
}

// abort answers ABORT.
func (s *session) abort(f *frame.Frame) error {
	tx, err := s.leaveTransaction(f)
	if err != nil {
		return err
	}
	tx.Abort()
	s.receipt(f)
	return nil
}

// dedupeNames are the spellings of dedupe-id.
var dedupeNames = []string{"dedupe-id", "_AMQ_DUPL_ID", "x-deduplication-header", "Nats-Msg-Id", "idempotency-key"}

// commitName is the dedupe-id of a COMMIT, which names the whole transaction.
func commitName(f *frame.Frame) string {
	for _, h := range dedupeNames {
		if v := f.Header.Value(h); v != "" {
			return v
		}
	}
	return ""
}
