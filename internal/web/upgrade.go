package web

import (
	"net/http"
	"net/http/httputil"

	"stompserver/internal/session"
	"stompserver/internal/transport"
)

// upgrade gives a connection that is to be a WebSocket to the sessions, which answer its request
// as they do on their own port.
func (d *Door) upgrade(w http.ResponseWriter, r *http.Request) {
	head, err := httputil.DumpRequest(r, false)
	if err != nil {
		say(w, http.StatusBadRequest, "The request cannot be understood.")
		return
	}
	c, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		say(w, http.StatusInternalServerError, "The connection cannot be a WebSocket.")
		return
	}
	if n := buffered.Reader.Buffered(); n > 0 {
		early, _ := buffered.Reader.Peek(n) // it is there
		head = append(head, early...)
	}
	_ = c.SetDeadline(noTime)
	d.sessions.ServeConn(&transport.Replay{Conn: c, Early: head}, &session.Port{Speaks: session.Web, Origins: d.cfg.Guard, BasicAuth: d.cfg.BasicAuth})
}
