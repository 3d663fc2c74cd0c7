package web

import "net/http"

// guard says why a request is not to be answered: a page of another site made a browser send
// it, or the browser sent it without being asked, and a GET takes a message here. Empty: nothing
// is wrong.
func (d *Door) guard(r *http.Request) string {
	if why := d.cfg.Guard.Refuse(r); why != "" {
		return why
	}
	if r.Header.Get("Sec-Purpose") != "" || r.Header.Get("Purpose") != "" {
		return "A browser wanted this ahead of time; it would take a message."
	}
	return ""
}
