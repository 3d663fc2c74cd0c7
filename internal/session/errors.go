package session

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/frame"
	"stompserver/internal/message"
	"stompserver/internal/selector"
	"stompserver/internal/store"
)

// An Error is what a client is told in an ERROR frame before its connection is closed.
type Error struct {
	Code    string // header error-code: a stable word of docs/protocol.md
	Message string // header message: a short fixed text
	Detail  string // body: one or two sentences that help

	Receipt      string // receipt-id: of the frame that failed
	Subscription string // the subscription it is about
	Redirect     string // where the client is to go
	Versions     bool   // say in a header version what is spoken here

	RetryAfter time.Duration // when the client is to come again; 0: nothing is said

	Limit string // the setting that was reached; empty: none
}

func (e *Error) Error() string { return "session: " + e.Code + ": " + e.Detail }

// The stable words of the header error-code.
const (
	codeLoginFailed         = "login-failed"
	codeLoginUnavailable    = "login-unavailable"
	codeLoginRequired       = "login-required"
	codeNotAllowed          = "not-allowed"
	codeTLSRequired         = "tls-required"
	codeVersionMismatch     = "version-mismatch"
	codeMalformed           = "malformed-frame"
	codeTooLarge            = "frame-too-large"
	codeHeaderMissing       = "header-missing"
	codeBadHeader           = "bad-header"
	codeBadDestination      = "bad-destination"
	codeNotFound            = "not-found"
	codeUnroutable          = "unroutable"
	codeAccess              = "access-refused"
	codeBadSelector         = "bad-selector"
	codeSubscriptionExists  = "subscription-exists"
	codeSubscriptionUnknown = "subscription-unknown"
	codeAckUnknown          = "ack-unknown"
	codeTransactionUnknown  = "transaction-unknown"
	codeTransactionExists   = "transaction-exists"
	codeLimit               = "limit-reached"
	codeQueueFull           = "queue-full"
	codeStorageFull         = "storage-full"
	codeStorageRefused      = "storage-refused"
	codeStorageAway         = "storage-away"
	codeHostRefused         = "vhost-refused"
	codeHostStopped         = "vhost-stopped"
	codeHeartbeatLost       = "heartbeat-lost"
	codeShuttingDown        = "shutting-down"
	codeInternal            = "internal"
)

// errorCodes are all of them.
var errorCodes = []string{
	codeLoginFailed, codeLoginUnavailable, codeLoginRequired, codeNotAllowed, codeTLSRequired, codeVersionMismatch,
	codeMalformed, codeTooLarge, codeHeaderMissing, codeBadHeader, codeBadDestination, codeNotFound, codeUnroutable,
	codeAccess, codeBadSelector, codeSubscriptionExists, codeSubscriptionUnknown, codeAckUnknown, codeTransactionUnknown,
	codeTransactionExists, codeLimit, codeQueueFull, codeStorageFull, codeStorageRefused, codeStorageAway,
	codeHostRefused, codeHostStopped, codeHeartbeatLost, codeShuttingDown, codeInternal,
}

func errf(code, msg, format string, args ...any) *Error {
	return &Error{Code: code, Message: msg, Detail: fmt.Sprintf(format, args...)}
}

// cut shortens a client's text for an answer.
func cut(b []byte) string {
	if len(b) > 80 {
		return strconv.Quote(string(b[:80])) + "..."
	}
	return strconv.Quote(string(b))
}

func errMissing(cmd frame.Command, header string) *Error {
	msg := "Missing header"
	switch header {
	case "destination":
		msg = "Missing destination"
	case "transaction":
		msg = "Missing transaction"
	}
	return errf(codeHeaderMissing, msg, "%s needs the header %q.", cmd, header)
}

// errReached is the error of a limit that is told in other words than errLimit's.
func errReached(name, format string, args ...any) *Error {
	e := errf(codeLimit, "Limit reached", format, args...)
	e.Limit = name
	return e
}

func errHeader(cmd frame.Command, header string, value []byte, want string) *Error {
	return errf(codeBadHeader, "Invalid header", "%s has the header %q with the value %s; %s is expected.", cmd, header, cut(value), want)
}

func errLimit(name string, max int, format string, args ...any) *Error {
	e := errf(codeLimit, "Limit reached", format, args...)
	e.Detail += fmt.Sprintf(" The limit is %s: %d.", name, max)
	e.Limit = name
	return e
}

// decodeError turns what the decoder says into what the client is told.
func decodeError(err error) *Error {
	var l *frame.LimitError
	if errors.As(err, &l) {
		e := errf(codeTooLarge, "Frame too large", "The frame goes past %s, which is %d here. The server's configuration can raise it.", l.Limit, l.Max)
		e.Limit = l.Limit
		return e
	}
	var s *frame.SyntaxError
	if errors.As(err, &s) {
		return errf(codeMalformed, "Malformed frame", "%s.", s.Reason)
	}
	return errf(codeInternal, "Internal error", "The server could not read the frame.")
}

// asError turns any error into one for the client. What is not meant for clients becomes
// "internal", and known reports false: then it belongs into the log.
func asError(err error) (e *Error, known bool) {
	var h *message.HeaderError
	var refused *store.RefusedError
	var sel *selector.Error
	var full *broker.FullError
	switch {
	case errors.As(err, &e):
		return e, true
	case errors.Is(err, broker.ErrCron):
		return errf(codeBadHeader, "Invalid header", "SEND has a header AMQ_SCHEDULED_CRON that is no time table: minute, hour, day of the month, month and day of the week are expected."), true
	case errors.As(err, &full):
		return errf(codeQueueFull, "Queue full", "The queue %s holds as much as it may; the message was not taken.", cut([]byte(full.Queue))), true
	case errors.Is(err, broker.ErrRetained):
		return errReached("limits.retained", "Too many topics keep a message already; this one was not sent."), true
	case errors.Is(err, broker.ErrNoSchedule):
		return errNotFound("Nothing waits by that schedule id: it was sent, or cancelled."), true
	case errors.Is(err, broker.ErrControl):
		return errf(codeBadHeader, "Invalid header", "A SEND to this destination asks the server for something: %s.", strings.TrimPrefix(err.Error(), broker.ErrControl.Error()+": ")), true
	case errors.As(err, &sel):
		return errf(codeBadSelector, "Invalid selector", "The selector cannot be understood: at character %d: %s\n%s", sel.Character(), sel.Reason, sel.Excerpt()), true
	case errors.As(err, &h):
		return errHeader(frame.Send, h.Name, []byte(h.Value), h.Want), true
	case errors.Is(err, store.ErrFull):
		return errf(codeStorageFull, "Storage full", "The server has no room for the message: its disk is full, or it has too many files open. The message was not stored. Try again later."), true
	case errors.As(err, &refused):
		return errf(codeStorageRefused, "Message refused", "The storage of the server cannot hold this message: it is too large for the database, or its headers are. Nothing was stored."), true
	case errors.Is(err, store.ErrAway):
		return errf(codeStorageAway, "Storage away", "The database of the server does not answer; the message was not stored. Try again later."), true
	}
	if e, ok := asDestinationError(err); ok {
		return e, true
	}
	return errf(codeInternal, "Internal error", "The server could not do that; its log says why."), false
}

// frame writes e as an ERROR frame.
func (e *Error) frame() *frame.Frame {
	f := &frame.Frame{Command: frame.Error, Body: []byte(e.Detail + "\n")}
	f.Header.Add("message", e.Message)
	f.Header.Add("error-code", e.Code)
	if e.Receipt != "" {
		f.Header.Add("receipt-id", e.Receipt)
	}
	if e.Subscription != "" {
		f.Header.Add("subscription", e.Subscription)
	}
	if e.Redirect != "" {
		f.Header.Add("redirect", e.Redirect)
	}
	if e.RetryAfter > 0 {
		f.Header.Add("retry-after", strconv.FormatInt(e.RetryAfter.Milliseconds(), 10))
	}
	if e.Versions {
		f.Header.Add("version", "1.0,1.1,1.2")
	}
	f.Header.Add("content-type", "text/plain")
	f.Header.Add("content-length", strconv.Itoa(len(f.Body)))
	return f
}
