package stompserver_test

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stompserver"
	"stompserver/test/transcript"
)

// serve plays a script with a server of virtual hosts whose messages are at p, and returns its log.
func serve(t *testing.T, p stompserver.Place, v stompserver.VHosts, script string) string {
	t.Helper()
	var log bytes.Buffer
	s, err := stompserver.New(stompserver.Config{
		Host: "127.0.0.1", Port: stompserver.AnyPort, Queue: p.Queue, Storage: p.Storage, VHosts: v,
		Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	transcript.Play(t, s.Addrs()[0].String(), script, nil)
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	return log.String()
}

// TestStoredVHosts carries what virtual hosts hold from store to store, by migrate and by dumps.
func TestStoredVHosts(t *testing.T) {
	var places []stompserver.Place
	for _, kind := range []string{"file", "activerecord", "journal", "dbm"} {
		p, err := stompserver.ParsePlace(kind+":"+filepath.Join(t.TempDir(), kind), stompserver.Config{})
		if err != nil {
			t.Fatal(err)
		}
		places = append(places, p)
	}
	on := stompserver.VHosts{Enabled: true, List: []stompserver.VHost{{Name: "shop"}, {Name: "prod/eu"}}}
	serve(t, places[0], on, `
A: CONNECT host:shop client-id:c
A: SEND destination:queue://a.b colour:red = one
A: SEND /queue/a.b priority:9 = two
A: SUBSCRIBE /topic/t id:d durable:true ack:client-individual
A: SEND /topic/t = kept
A: SEND /queue/a.b delay:600000 = later
B: CONNECT host:prod/eu
B: SEND /queue/a.b = of prod
C: CONNECT
C: SEND /queue/a.b = of default
C: SEND /queue_$vhost_shop_queue_a.b = a folder of the same name
`)
	want := []string{"/queue/$vhost/shop/queue/a.b", "/queue/$vhost/shop/queue/$p9/queue/a.b", "/queue/$vhost/shop/dsub/c.d", "/queue/$vhost/prod%2Feu/queue/a.b", "/queue/a.b"}
	for i, p := range places[1:] {
		from := places[i]
		if i%2 == 0 {
			if _, err := (stompserver.Transfer{}).Migrate(t.Context(), from, p); err != nil {
				t.Fatal(err)
			}
		} else {
			var dump bytes.Buffer
			if _, err := (stompserver.Transfer{}).Export(t.Context(), from, &dump); err != nil {
				t.Fatal(err)
			}
			if _, err := (stompserver.Transfer{}).Import(t.Context(), &dump, "dump", p); err != nil {
				t.Fatal(err)
			}
		}
		r, err := stompserver.Check(t.Context(), p)
		if err != nil || len(r.Problems) > 0 {
			t.Fatal(r, err)
		}
		for _, name := range want {
			if !slices.ContainsFunc(r.Queues, func(q stompserver.StoredQueue) bool { return q.Name == name && q.Messages == 1 }) {
				t.Errorf("%s has no %s: %+v", p, name, r.Queues)
			}
		}
	}
	for _, p := range places {
		log := serve(t, p, stompserver.VHosts{Enabled: true, List: on.List[:1]}, `
A: CONNECT host:shop client-id:c
A: SUBSCRIBE /queue/a.b id:0
A? MESSAGE destination:/queue/a.b priority:9 = two
A? MESSAGE destination:queue\c//a.b colour:red = one
A: SUBSCRIBE /topic/t id:d durable:true
A? MESSAGE destination:/topic/t = kept
A: SUBSCRIBE /temp-queue/l id:l
A: SEND /queue/$schedule action:list reply-to:/temp-queue/l
A? MESSAGE original-destination:/queue/a.b = later
B: CONNECT
B: SUBSCRIBE /queue/a.b id:0
B? MESSAGE = of default
B! nothing
B: SUBSCRIBE /queue_$vhost_shop_queue_a.b id:1
B? MESSAGE = a folder of the same name
`)
		if !strings.Contains(log, "vhost=prod/eu messages=1") || strings.Contains(log, "vhost=shop") {
			t.Errorf("%s: the log does not name what is kept of others: %s", p, log)
		}
	}
}

// TestImportForVHost: who writes a dump, or a message as the Ruby server does, says the stored name;
// what clients see is theirs.
func TestImportForVHost(t *testing.T) {
	p, err := stompserver.ParsePlace("journal:"+t.TempDir(), stompserver.Config{})
	if err != nil {
		t.Fatal(err)
	}
	dump := `{"queue":"/queue/$vhost/shop/queue/a","body":"1"}
{"queue":"/queue/$vhost/shop/queue/a","headers":{"destination":"queue/a"},"body":"2"}
{"queue":"/queue/$vhost/shop/dsub/x","body":"3"}
{"queue":"/dsub/x","body":"4"}
`
	if _, err := (stompserver.Transfer{}).Import(t.Context(), strings.NewReader(dump), "dump", p); err != nil {
		t.Fatal(err)
	}
	serve(t, p, stompserver.VHosts{Enabled: true, List: []stompserver.VHost{{Name: "shop"}}}, `
A: CONNECT host:shop
A: SUBSCRIBE /queue/a id:0
A? MESSAGE destination:/queue/a = 1
A? MESSAGE destination:queue/a = 2
A: SUBSCRIBE /dsub/x id:1
A? MESSAGE destination:/dsub/x = 3
B: CONNECT
B: SUBSCRIBE /dsub/x id:1
B? MESSAGE destination:/dsub/x = 4
B! nothing
`)
	if p, err = stompserver.ParsePlace("journal:"+t.TempDir(), stompserver.Config{}); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`{"queue":"/queue/$vhost/shop","body":"x"}`, `{"queue":"/queue/$vhost//queue/a","body":"x"}`, `{"queue":"/queue/$vhost/shop/topic/a","body":"x"}`,
		`{"queue":"/queue/$vhost/a%2fb/queue/a","body":"x"}`, `{"queue":"/queue/` + strings.Repeat("a", 300) + `","body":"x"}`,
	} {
		if _, err := (stompserver.Transfer{}).Import(t.Context(), strings.NewReader(line), "dump", p); err == nil || !strings.Contains(err.Error(), "dump:1: ") {
			t.Errorf("%s: got %v", line, err)
		}
	}
}
