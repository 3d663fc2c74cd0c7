package web

import (
	"bytes"
	"io"
	"net/http"
	"strings"
)

// put answers PUT and POST: the body becomes a message, and the answer comes when it is as
// safe as a RECEIPT would say.
func (d *Door) put(w http.ResponseWriter, r *http.Request) {
	if r.URL.RawQuery != "" {
		say(w, http.StatusBadRequest, "A query belongs to GET; a message has headers, "+prefix+"NAME.")
		return
	}
	if r.Header.Get("Content-Encoding") != "" {
		say(w, http.StatusUnsupportedMediaType, "Content-Encoding is not understood; "+prefix+"content-encoding is for the receiver.")
		return
	}
	header, err := d.headersOf(r)
	if err != nil {
		say(w, http.StatusBadRequest, sentence(err))
		return
	}
	v := r.Context().Value(visitorKey{}).(*visitor)
	c, err := d.session(r.Context(), v, r)
	if err != nil {
		d.refuse(w, err, notEnqueued)
		return
	}
	in := &patient{r.Body, http.NewResponseController(w)}
	body, size := io.Reader(in), r.ContentLength
	if size < 0 {
		all, err := io.ReadAll(io.LimitReader(in, small+1))
		switch {
		case err != nil:
			say(w, http.StatusBadRequest, "The message did not come to its end.")
			return
		case len(all) > small:
			say(w, http.StatusLengthRequired, "A message of more than 1 MiB needs the header Content-Length.")
			return
		}
		body, size = bytes.NewReader(all), int64(len(all))
	}
	told, err := c.SendFrom(r.Context(), destinationOf(r), header, body, size)
	in.done()
	if err != nil {
		_ = c.Close() // it may be in the middle of something
		d.refuse(w, err, notEnqueued)
		return
	}
	for _, h := range told {
		if name := string(h.Name); token(name) {
			w.Header()[prefix+name] = append(w.Header()[prefix+name], string(h.Value))
		}
	}
	say(w, http.StatusOK, enqueued)
}

// sentence is err as an answer.
func sentence(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:] + "."
}
