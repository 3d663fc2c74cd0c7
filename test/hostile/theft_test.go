package hostile_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"stompserver/test/process"
)

func quickHash(t *testing.T, passcode string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(passcode), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

// withUsers is a server where eve may use /queue/eve and /topic/eve.>, and boss everything.
func withUsers(t *testing.T, settings ...string) *process.Server {
	t.Helper()
	h := quickHash(t, "secret")
	return process.Start(t, append(settings, "STOMPSERVER_AUTH=true", fmt.Sprintf(
		`STOMPSERVER_USERS=[{name: boss, passcode: "%s", roles: [admin]}, {name: eve, passcode: "%s", allow: ["write /queue/eve", "read /queue/eve", "write /topic/eve.>", "read /topic/eve.>"]}]`, h, h))...)
}

func loginAs(t *testing.T, s *process.Server, user, version string) *conn {
	t.Helper()
	c := dial(t, s)
	c.send("CONNECT\naccept-version:" + version + "\nhost:localhost\nlogin:" + user + "\npasscode:secret\n\n\x00")
	c.want("CONNECTED")
	return c
}

// spellings are ways to write the queue and the topic that eve may not have, or to have something
// else lead there.
var spellings = []string{
	"/queue/secret", "queue/secret", "/queue//secret", "/queue/./secret", "/queue/eve/../secret", "/queue/secret/", "/QUEUE/secret",
	" /queue/secret", "/queue/secret ", "/queue/eve,/queue/secret", "/queue/secret,/queue/eve", "queue://secret", "queue.secret",
	"jms.queue.secret", "/amq/queue/secret", "/exchange/amq.direct/secret", "/exchange//secret", "/exchange/amq.topic/secret",
	"/exchange/amq.fanout/", "/exchange/amq.headers/secret", "/queue/%73ecret", "/queue/secre%74", "/queue/$p9/queue/secret",
	"/queue/$p4/queue/secret", "/queue/$dlq/secret", "/queue/$vhost/x/queue/secret", "/queue/$delayed", "/queue/$dsub", "/queue/$schedule",
	"/queue/$sys/stats/queue/secret", "/dsub/secret", "dsub/secret", "/topic/secret", "topic/secret", "topic://secret", "/topic/secret.a",
	"/topic/eve.a,/topic/secret", "/topic/>", "/topic/#", "/topic/*", "/topic/**", "/topic/e*", "/topic/eve.a,/topic/*", "/topic/*.*",
	"/topic/#.secret", "/queue/*", "/queue/>", "/queue/#", "/queue/eve,/queue/*", "/topic/$sys/>", "/queue/Consumer.g.VirtualTopic.secret",
	"/topic/VirtualTopic.secret", "/topic/$share/g/secret", "/remote-temp-queue/secret", "/reply-queue/secret", "secret", "/secret",
	"/queue/secret::secret", "secret::secret", "/queue/deadletter", "/queue/secret?x=1", "/queue/eve\\c/queue/secret", "/queue/eve\\n/queue/secret",
}

// TestOtherUsersQueue: however eve writes it, she neither gets what is the boss's nor puts anything
// there.
func TestOtherUsersQueue(t *testing.T) {
	s := withUsers(t)
	boss := loginAs(t, s, "boss", "1.2")
	boss.send("SUBSCRIBE\nid:q\ndestination:/queue/secret\nack:client\nprefetch-count:1000\nreceipt:q\n\n\x00SUBSCRIBE\nid:t\ndestination:/topic/>\nreceipt:t\n\n\x00")
	boss.want("RECEIPT")
	boss.want("RECEIPT")
	boss.send("SEND\ndestination:/queue/untouched\nreceipt:u\n\nfor the boss\x00")
	boss.want("RECEIPT")
	tried := 0
	for _, name := range spellings {
		for _, also := range []string{"", "destination-type:ANYCAST\n", "durable:true\n", "browser:true\n", "x-queue-name:secret\n", "activemq.subscriptionName:secret\n", "x-dead-letter-exchange:\nx-dead-letter-routing-key:secret\n"} {
			for _, version := range []string{"1.0", "1.2"} {
				eve := loginAs(t, s, "eve", version)
				eve.pour([]byte("SEND\ndestination:"+name+"\n"+also+"\nof eve\x00"), 1)
				eve.Close()
				eve = loginAs(t, s, "eve", version)
				eve.pour([]byte("SUBSCRIBE\nid:1\ndestination:"+name+"\n"+also+"receipt:r\n\n\x00"), 1)
				eve.SetReadDeadline(time.Now().Add(wait))
				for {
					f, err := eve.read()
					if err != nil || f.command == "RECEIPT" || f.command == "ERROR" {
						break
					}
					if strings.Contains(f.body, "boss") {
						t.Errorf("eve got %v by %q with %q", f, name, also)
					}
				}
				eve.Close()
				tried++
			}
		}
	}
	// What eve may do still works, and her replies go nowhere else.
	eve := loginAs(t, s, "eve", "1.2")
	eve.send("SEND\ndestination:/queue/eve\nreply-to:/queue/secret\nreceipt:r\n\nof eve\x00")
	eve.want("RECEIPT")
	boss.send("SEND\ndestination:/queue/secret\n\nthe end\x00")
	for {
		f := boss.next()
		if f.header["subscription"] == "t" { // events, and what eve sent to her own topics
			if strings.Contains(f.body, "of eve") && !strings.HasPrefix(f.header["destination"], "/topic/eve.") {
				t.Errorf("eve sent %v", f)
			}
			continue
		}
		if f.body != "the end" {
			t.Errorf("the boss got %v", f)
		}
		break
	}
	t.Logf("%d conversations", tried)
}

// TestTemporaryTheft: who knows the name that a temporary queue has here cannot read it, end it or
// take its answers.
func TestTemporaryTheft(t *testing.T) {
	s := process.Start(t)
	owner := login(t, s, "1.2")
	owner.send("SUBSCRIBE\nid:1\ndestination:/temp-queue/mine\nreceipt:r\n\n\x00")
	owner.want("RECEIPT")
	worker := login(t, s, "1.2")
	worker.send("SUBSCRIBE\nid:1\ndestination:/queue/work\nreceipt:r\n\n\x00")
	worker.want("RECEIPT")
	owner.send("SEND\ndestination:/queue/work\nreply-to:/temp-queue/mine\n\n?\x00")
	name := worker.want("MESSAGE").header["reply-to"]
	if name == "" || name == "/temp-queue/mine" {
		t.Fatalf("reply-to is %q", name)
	}
	for _, f := range []string{
		"SUBSCRIBE\nid:1\ndestination:%s\nreceipt:r\n\n\x00",
		"SUBSCRIBE\nid:1\ndestination:%s\nbrowser:true\nreceipt:r\n\n\x00",
		"SUBSCRIBE\nid:1\ndestination:/queue/other,%s\nreceipt:r\n\n\x00",
		"SUBSCRIBE\nid:1\ndestination:/topic/x\nx-queue-name:%s\nreceipt:r\n\n\x00",
		"SUBSCRIBE\nid:1\ndestination:/amq/queue/%s\nreceipt:r\n\n\x00",
		"SUBSCRIBE\nid:%[1]s\ndestination:/topic/x\ndurable:true\nreceipt:r\n\n\x00UNSUBSCRIBE\nid:%[1]s\ndurable:true\n\n\x00",
		"UNSUBSCRIBE\nid:%s\ndurable:true\n\n\x00",
	} {
		thief := login(t, s, "1.2")
		thief.send(fmt.Sprintf(f, name) + "SEND\ndestination:" + name + "\n\nforged\x00SEND\ndestination:/topic/none\nreceipt:end\n\n\x00")
		thief.SetReadDeadline(time.Now().Add(wait))
		for {
			g, err := thief.read()
			if err != nil || g.command == "ERROR" || g.header["receipt-id"] == "end" {
				break
			}
			if g.command == "MESSAGE" {
				t.Errorf("%q brought %v", f, g)
			}
		}
		thief.Close()
	}
	worker.send("SEND\ndestination:" + name + "\n\nthe answer\x00")
	for {
		f := owner.want("MESSAGE")
		if f.body == "the answer" {
			break
		}
		if f.body != "forged" { // whoever knows the name may answer
			t.Errorf("the owner got %v", f)
		}
	}
}

// TestForgedFrames: nothing that a client writes into headers makes a frame, or a header, of its own
// for another, whatever versions the two speak.
func TestForgedFrames(t *testing.T) {
	s := process.Start(t)
	nasty := []string{
		`a\nforged:1`, `a\n\nbody`, `a\r\nforged:1`, `a\n\n\0MESSAGE\nforged:1\n\nx`, `\cforged:1`, `a:forged`, "a\rforged:1",
		`x\\nforged:1`, `x\\\nforged:1`,
	}
	for _, to := range []string{"1.0", "1.1", "1.2"} {
		for _, from := range []string{"1.0", "1.1", "1.2"} {
			reader := login(t, s, to)
			reader.send("SUBSCRIBE\nid:1\ndestination:/queue/forge\nreceipt:r\n\n\x00")
			reader.want("RECEIPT")
			for _, v := range nasty {
				for _, header := range []string{"note", "correlation-id", "reply-to", "type", "content-type", "persistent\\nforged", "a\\nb"} {
					c := login(t, s, from)
					c.pour([]byte("SEND\ndestination:/queue/forge\n"+header+":"+v+"\n\nbody\x00SEND\ndestination:/topic/none\nreceipt:end\n\n\x00"), 1)
					c.SetReadDeadline(time.Now().Add(wait))
					for {
						f, err := c.read()
						if err != nil || f.command == "ERROR" || f.command == "RECEIPT" {
							if f.header["forged"] != "" {
								t.Errorf("the sender got %v", f)
							}
							break
						}
					}
					c.Close()
				}
			}
			end := login(t, s, "1.2")
			end.send("SEND\ndestination:/queue/forge\n\nend\x00")
			for {
				f := reader.next()
				if f.command != "MESSAGE" || f.header["forged"] != "" || f.body != "body" && f.body != "end" {
					t.Errorf("from %s to %s: %v", from, to, f)
				}
				if f.body == "end" {
					break
				}
			}
			end.Close()
			reader.Close()
		}
	}
}
