package client

import (
	"context"
	"crypto/tls"
	"net"

	"stompserver/internal/websocket"
)

// Dial makes the connection that a names, up to where STOMP begins. Of d only what concerns
// connecting is used; t is for addresses that want TLS, nil is the system's trust.
func (a Address) Dial(ctx context.Context, d *net.Dialer, t *tls.Config) (net.Conn, error) {
	conn, err := d.DialContext(ctx, "tcp", a.HostPort)
	if err != nil {
		return nil, err
	}
	host, _, _ := net.SplitHostPort(a.HostPort)
	if a.Secure {
		if t == nil {
			t = new(tls.Config)
		}
		t = t.Clone()
		if t.ServerName == "" {
			t.ServerName = host
		}
		c := tls.Client(conn, t)
		if err := c.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, err
		}
		conn = c
	}
	if a.Path != "" {
		s, err := websocket.Open(ctx, conn, a.HostPort, a.Path, "v12.stomp", "v11.stomp", "v10.stomp")
		if err != nil {
			_ = conn.Close()
			return nil, err
		}
		conn = s
	}
	return conn, nil
}
