package store

import (
	"stompserver/internal/destination"
	"stompserver/internal/message"
)

// Unhosted returns m, which is of the stored queue, as the clients of its virtual host know it. That
// is m, but for what was written by who knows no virtual hosts, the Ruby server for instance: that
// says the stored name where these say theirs.
func Unhosted(m *message.Message, queue string) *message.Message {
	if m.Destination() != queue || !destination.IsHosted(queue) {
		return m
	}
	_, name := destination.Unhosted(queue)
	return m.Redirect(name)
}
