package session_test

import (
	"strings"
	"testing"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/monitor"
	"stompserver/internal/session"
	"stompserver/internal/store/spool"
	"stompserver/internal/vhost"
	"stompserver/test/transcript"
)

// hosted runs f against a server with the virtual hosts shop, which takes two clients, and lab.
func hosted(t *testing.T, memory int64, f func(t *testing.T, brokers []*broker.Broker, dial func() *transcript.Peer)) {
	st := spool.New()
	bubbleOn(t, vhost.Part(st, ""), session.Config{}, func(t *testing.T, s *server, dial func() *transcript.Peer) {
		s.b.SetMemoryLimit(memory)
		hosts := &session.Hosts{Default: &session.Host{Name: session.DefaultHost, Broker: s.b}, Others: map[string]*session.Host{}}
		brokers := []*broker.Broker{s.b}
		for _, name := range []string{"shop", "lab"} {
			b, err := broker.New(broker.Config{Beside: s.b, Host: name, Store: vhost.Part(st, name)})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			hosts.Others[name] = &session.Host{Name: name, Broker: b}
			brokers = append(brokers, b)
		}
		hosts.Others["shop"].Connections = 2
		s.srv.SetConfig(session.Config{Hosts: hosts})
		f(t, brokers, dial)
	})
}

func TestMonitorOfHosts(t *testing.T) {
	hosted(t, 0, func(t *testing.T, brokers []*broker.Broker, dial func() *transcript.Peer) {
		m := monitor.Start(func() []*broker.Broker { return brokers }, monitor.Interval)
		defer m.Stop()
		shop, lab := dial(), dial()
		shop.Connect("1.2", "host:shop")
		lab.Connect("1.2", "host:lab")
		shop.Send("SEND\ndestination:/queue/a\n\n1^@SUBSCRIBE\nid:0\ndestination:/queue/monitor\n\n^@SUBSCRIBE\nid:1\ndestination:/topic/$sys/stats\n\n^@")
		lab.Send("SUBSCRIBE\nid:0\ndestination:/queue/monitor\n\n^@")
		time.Sleep(11 * time.Second)
		shop.Expect("MESSAGE\ndestination:/queue/monitor\n\nQueue: /queue/a\nsize: 1\ndequeued: 0\nenqueued: 1\n\n\n")
		if f := shop.Expect("MESSAGE\ndestination:/topic/$sys/stats\n"); !strings.Contains(f.Body, `"enqueueCount":1`) {
			t.Errorf("got %s", f.Body)
		}
		lab.Silent() // it has no queue
	})
}

// TestMessageIDsOfHosts: queues and topics of one name are told apart by those who are clients of
// several virtual hosts.
func TestMessageIDsOfHosts(t *testing.T) {
	hosted(t, 0, func(t *testing.T, _ []*broker.Broker, dial func() *transcript.Peer) {
		seen := map[string]bool{}
		for _, host := range []string{"", "shop", "lab"} {
			p := dial()
			p.Connect("1.2", "host:"+host)
			for _, dest := range []string{"/queue/a", "/topic/a"} {
				p.Send("SUBSCRIBE\nid:" + dest + "\ndestination:" + dest + "\n\n^@SEND\ndestination:" + dest + "\n\n1^@")
				id, _ := p.Expect("MESSAGE\n").Get("message-id")
				if seen[id] {
					t.Errorf("%s is there twice", id)
				}
				seen[id] = true
			}
		}
	})
}

// TestConnectionsOfHosts: who leaves makes room.
func TestConnectionsOfHosts(t *testing.T) {
	hosted(t, 0, func(t *testing.T, _ []*broker.Broker, dial func() *transcript.Peer) {
		a, b := dial(), dial()
		a.Connect("1.2", "host:shop")
		b.Connect("1.2", "host:shop")
		c := dial()
		c.Send("CONNECT\naccept-version:1.2\nhost:shop\n\n^@")
		c.Expect("ERROR\nerror-code:limit-reached\n")
		dial().Connect("1.2", "host:lab")
		_ = a.Conn.Close()
		time.Sleep(10 * time.Second)
		dial().Connect("1.2", "host:shop")
		d := dial()
		d.Send("CONNECT\naccept-version:1.2\nhost:shop\n\n^@")
		d.Expect("ERROR\nerror-code:limit-reached\n")
	})
}

// TestMemoryOfHosts: what one virtual host holds counts for all, and is given back for all.
func TestMemoryOfHosts(t *testing.T) {
	hosted(t, 64<<10, func(t *testing.T, brokers []*broker.Broker, dial func() *transcript.Peer) {
		shop, lab := dial(), dial()
		shop.Connect("1.2", "host:shop")
		lab.Connect("1.2", "host:lab")
		shop.Send("SEND\ndestination:/queue/a\nreceipt:1\n\n" + strings.Repeat("x", 80<<10) + "^@")
		shop.Expect("RECEIPT\nreceipt-id:1\n")
		for i, b := range brokers {
			if !b.MemoryFull() {
				t.Errorf("broker %d has memory", i)
			}
		}
		lab.Send("SEND\ndestination:/queue/a\nreceipt:2\n\n1^@")
		lab.Silent()
		shop.Send("SUBSCRIBE\nid:0\ndestination:/queue/a\n\n^@")
		shop.Expect("MESSAGE\n")
		shop.Send("UNSUBSCRIBE\nid:0\nreceipt:3\n\n^@") // the frame's last byte is read with what follows
		shop.Expect("RECEIPT\nreceipt-id:3\n")
		lab.Expect("RECEIPT\nreceipt-id:2\n")
	})
}
