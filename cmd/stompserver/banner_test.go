package main

import (
	"bytes"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stompserver"
)

func TestBanner(t *testing.T) {
	for _, tt := range []struct {
		name  string
		flags []stompserver.FlagValue
		addr  string
		http  []net.Addr
		want  string
	}{
		{name: "default", addr: "127.0.0.1", http: []net.Addr{&net.TCPAddr{IP: net.ParseIP("127.0.0.1"), Port: 8161}}, want: `
stompserver dev                                               pid 4242
  STOMP      stomp://127.0.0.1:61613       versions 1.0, 1.1, 1.2
  WebSocket  ws://127.0.0.1:61613/ws       for stompjs
  HTTP       http://127.0.0.1:8161/        PUT and GET /queue/NAME, health at /healthz
  Storage    memory                        what is kept
  Access     this machine only, no login   open it with -b ADDR and -a
  Try        stompserver send /queue/hello hi      stompserver subscribe /queue/hello
ready in 18 ms, Ctrl-C to stop
`},
		{name: "open to all", addr: "192.0.2.7", flags: []stompserver.FlagValue{{Key: "host", Name: "-b", Value: "192.0.2.7"}}, want: `
stompserver dev                                               pid 4242
  STOMP      stomp://192.0.2.7:61613       versions 1.0, 1.1, 1.2
  WebSocket  ws://192.0.2.7:61613/ws       for stompjs
  Storage    memory                        what is kept
  Access     any machine, no login         anyone who reaches this port may use it; ask for logins with -a
  Try        stompserver send /queue/hello hi --server 192.0.2.7:61613
             stompserver subscribe /queue/hello --server 192.0.2.7:61613
ready in 18 ms, Ctrl-C to stop
`},
		{name: "with logins and debug", addr: "::1", flags: []stompserver.FlagValue{{Key: "auth", Name: "-a", Value: "true"}, {Key: "debug", Name: "-d", Value: "true"}}, want: `
stompserver dev                                               pid 4242
  STOMP      stomp://[::1]:61613           versions 1.0, 1.1, 1.2
  WebSocket  ws://[::1]:61613/ws           for stompjs
  Storage    memory                        what is kept
  Access     this machine, with login      open it with -b ADDR
  Debug      frames are logged
  Try        stompserver send /queue/hello hi --server '[::1]:61613' --login NAME
             stompserver subscribe /queue/hello --server '[::1]:61613' --login NAME
ready in 18 ms, Ctrl-C to stop
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := stompserver.Load(stompserver.LoadOptions{Dir: t.TempDir(), Flags: tt.flags})
			if err != nil {
				t.Fatal(err)
			}
			var plain, colored bytes.Buffer
			addrs := []net.Addr{&net.TCPAddr{IP: net.ParseIP(tt.addr), Port: 61613}}
			writeBanner(&plain, s, addrs, tt.http, "what is kept", false, 4242, 18*time.Millisecond)
			if diff := cmp.Diff(strings.TrimPrefix(tt.want, "\n"), plain.String()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			writeBanner(&colored, s, addrs, tt.http, "what is kept", true, 4242, 18*time.Millisecond)
			without := strings.NewReplacer("\x1b[1m", "", "\x1b[33m", "", "\x1b[0m", "").Replace(colored.String())
			if without != plain.String() || colored.Len() == plain.Len() {
				t.Errorf("with colour it is %q", colored.String())
			}
		})
	}
}
