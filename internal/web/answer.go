package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"stompserver/internal/client"
)

// What the Ruby server answered, to the letter.
const (
	enqueued    = "Message Enqueued"
	notEnqueued = "Error enqueueing message"
	notDequeued = "Error dequeueing message"
	noMessages  = "No messages in queue"
)

// say answers with a text.
func say(w http.ResponseWriter, status int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=UTF-8")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

// statuses are what the error-code of a session is in HTTP.
var statuses = map[string]int{
	"login-failed":      http.StatusUnauthorized,
	"login-required":    http.StatusUnauthorized,
	"login-unavailable": http.StatusServiceUnavailable,
	"access-refused":    http.StatusForbidden,
	"not-allowed":       http.StatusForbidden,
	"bad-destination":   http.StatusBadRequest,
	"bad-header":        http.StatusBadRequest,
	"header-missing":    http.StatusBadRequest,
	"malformed-frame":   http.StatusBadRequest,
	"vhost-refused":     http.StatusForbidden,
	"vhost-stopped":     http.StatusServiceUnavailable,
	"not-found":         http.StatusNotFound,
	"unroutable":        http.StatusNotFound,
	"frame-too-large":   http.StatusRequestEntityTooLarge,
	"queue-full":        http.StatusServiceUnavailable,
	"storage-full":      http.StatusInsufficientStorage,
	"storage-refused":   http.StatusRequestEntityTooLarge,
	"storage-away":      http.StatusServiceUnavailable,
	"limit-reached":     http.StatusServiceUnavailable,
	"shutting-down":     http.StatusServiceUnavailable,
}

// refuse answers what a session said no to. Other is the text for what is the server's fault.
func (d *Door) refuse(w http.ResponseWriter, err error, other string) {
	var said *client.ServerError
	var body *client.BodyError
	switch {
	case errors.As(err, &body):
		say(w, http.StatusBadRequest, "The message did not come to its end.")
		return
	case errors.Is(err, client.ErrServerLeft), errors.Is(err, client.ErrClosed), errors.Is(err, context.Canceled):
		say(w, http.StatusServiceUnavailable, "The server is stopping. Try again in a moment.")
		return
	case errors.As(err, &said):
		if status, ok := statuses[said.Code]; ok {
			if status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Basic realm="stompserver", charset="UTF-8"`)
			}
			say(w, status, strings.TrimSpace(said.Body))
			return
		}
	}
	d.cfg.Log.Error("http request failed", "err", err)
	say(w, http.StatusInternalServerError, other)
}

// quoted shortens a client's text for an answer.
func quoted(text string) string {
	if len(text) > 80 {
		return strconv.Quote(text[:80]) + "..."
	}
	return strconv.Quote(text)
}
