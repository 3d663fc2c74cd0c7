package held_test

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/client"
	"stompserver/internal/frame"
	"stompserver/internal/session"
	"stompserver/internal/store"
	"stompserver/internal/store/activerecord"
	"stompserver/internal/store/dbm"
	"stompserver/internal/store/file"
	"stompserver/internal/store/journal"
	"stompserver/internal/store/spool"
	"stompserver/internal/vfs"
)

// A gate has those who come by wait, once it is shut.
type gate struct {
	mu    sync.Mutex
	shut  chan struct{} // closed when it opens; nil: it is open
	there chan struct{} // has a value once somebody waits
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut, g.there = make(chan struct{}), make(chan struct{}, 1)
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		close(g.shut)
		g.shut = nil
	}
}

func (g *gate) pass() {
	g.mu.Lock()
	shut, there := g.shut, g.there
	g.mu.Unlock()
	if shut == nil {
		return
	}
	select {
	case there <- struct{}{}:
	default:
	}
	<-shut
}

// A disk is the system's, but that who reads a file passes the gate.
type disk struct {
	vfs.Tree
	g *gate
}

func (d disk) Open(name string, create bool) (vfs.File, error) {
	return open(d.Tree, d.g, name, create)
}
func (d disk) Folder(name string) vfs.FS { return folder{d.Tree.Folder(name), d.g} }

type folder struct {
	vfs.FS
	g *gate
}

func (f folder) Open(name string, create bool) (vfs.File, error) {
	return open(f.FS, f.g, name, create)
}

func open(fs vfs.FS, g *gate, name string, create bool) (vfs.File, error) {
	f, err := fs.Open(name, create)
	if err != nil {
		return nil, err
	}
	return gated{f, g}, nil
}

type gated struct {
	vfs.File
	g *gate
}

func (f gated) ReadAt(p []byte, at int64) (int, error) {
	f.g.pass()
	return f.File.ReadAt(p, at)
}

// A backend of which the files are out of reach passes the gate before it is read.
type backend struct {
	store.Backend
	g *gate
}

func (b backend) Read(dst []store.Record, queue string, after store.Seq, max int, size int64) ([]store.Record, bool, error) {
	b.g.pass()
	return b.Backend.Read(dst, queue, after, max, size)
}

var stores = map[string]func(dir string, g *gate) (store.Backend, error){
	"memory": nil,
	"journal": func(dir string, g *gate) (store.Backend, error) {
		fs, err := vfs.Dir(dir)
		if err != nil {
			return nil, err
		}
		return journal.Open(journal.Config{FS: folder{fs, g}})
	},
	"file": func(dir string, g *gate) (store.Backend, error) {
		fs, err := vfs.Dir(dir)
		if err != nil {
			return nil, err
		}
		return file.Open(file.Config{Dir: dir, FS: disk{fs, g}, RedoSize: 1 << 20})
	},
	"dbm": func(dir string, g *gate) (store.Backend, error) {
		b, err := dbm.Open(dbm.Config{Path: filepath.Join(dir, "queues.db"), NoSync: true})
		return backend{b, g}, err
	},
	"SQLite": func(dir string, g *gate) (store.Backend, error) {
		b, err := activerecord.Open(activerecord.Config{Database: activerecord.Database{Adapter: "sqlite3", Database: filepath.Join(dir, "db")}, NoSync: true})
		return backend{b, g}, err
	},
}

// serve starts a server on a store, of which no queue has more than a little in memory.
func serve(t *testing.T, kind string, g *gate) (addr string) {
	t.Helper()
	var st store.Store = spool.New()
	if open := stores[kind]; open != nil {
		b, err := open(t.TempDir(), g)
		if err != nil {
			t.Fatal(err)
		}
		if st, err = spool.Open(spool.Config{Backend: b, Window: 256 << 10, Brief: kind != "SQLite", Failed: func(err error) { t.Error(err) }}); err != nil {
			t.Fatal(err)
		}
	}
	b, err := broker.New(broker.Config{Store: st, Durable: kind != "memory", MakeFilter: session.MakeFilter})
	if err != nil {
		t.Fatal(err)
	}
	sessions := session.NewServer(b, session.Config{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = sessions.Serve(l, nil)
	}()
	t.Cleanup(func() {
		g.open()
		_ = l.Close()
		<-served
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = sessions.Shutdown(ctx) // who does not read is not waited for
		b.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func dial(ctx context.Context, t *testing.T, addr string) *client.Conn {
	t.Helper()
	c, err := client.Dial(ctx, "stomp://"+addr, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

const (
	queue = "/queue/a"
	count = 2000 // messages of 8 KiB: more than sockets have room for
)

// fill sends messages that are numbered.
func fill(ctx context.Context, t *testing.T, c *client.Conn, from, n int) {
	t.Helper()
	body := make([]byte, 8<<10)
	for i := from; i < from+n; i++ {
		var h frame.Header
		h.Add("n", strconv.Itoa(i))
		var err error
		if i == from+n-1 || n <= 100 {
			err = c.SendConfirmed(ctx, queue, h, body)
		} else {
			err = c.Send(queue, h, body)
		}
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
}

// browse looks through the queue to its end.
func browse(ctx context.Context, c *client.Conn, selector string) (n int, err error) {
	var h frame.Header
	h.Add("browser", "true")
	if selector != "" {
		h.Add("selector", selector)
	}
	sub, err := c.Subscribe(ctx, queue, client.SubscribeOptions{Header: h})
	if err != nil {
		return 0, err
	}
	for {
		m, err := sub.Next(ctx)
		if err != nil {
			return n, fmt.Errorf("behind message %d: %w", n-1, err)
		}
		if m.Header.Value("browser") == "end" {
			return n, nil
		}
		if got := m.Header.Value("n"); selector == "" && got != strconv.Itoa(n) {
			return n, fmt.Errorf("message %s came, want %d", got, n)
		}
		n++
	}
}

// TestBrowserThatDoesNotRead is stopped by its socket, which is full.
func TestBrowserThatDoesNotRead(t *testing.T) {
	for kind := range stores {
		t.Run(kind, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			addr := serve(t, kind, &gate{})
			c := dial(ctx, t, addr)
			fill(ctx, t, c, 0, count)
			for range 3 {
				deaf, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				defer deaf.Close()
				_ = deaf.(*net.TCPConn).SetReadBuffer(4 << 10)
				if _, err := deaf.Write([]byte("CONNECT\naccept-version:1.2\nhost:a\n\n\x00SUBSCRIBE\nid:1\ndestination:" + queue + "\nbrowser:true\n\n\x00")); err != nil {
					t.Fatal(err)
				}
				if _, err := deaf.Read(make([]byte, 1)); err != nil { // it is served
					t.Fatal(err)
				}
			}
			fill(ctx, t, c, count, 50)
			n, err := browse(ctx, dial(ctx, t, addr), "")
			if err != nil || n != count+50 {
				t.Errorf("another browser sees %d messages, %v", n, err)
			}
			fill(ctx, t, c, count+50, 50)
		})
	}
}

// TestStoreThatIsHeld stops a browser, and a subscription with a selector, within the store.
func TestStoreThatIsHeld(t *testing.T) {
	for kind, open := range stores {
		if open == nil {
			continue // it reads nothing
		}
		for _, selector := range []string{"", "n = 1999"} {
			t.Run(kind+map[bool]string{true: " browser", false: " selector"}[selector == ""], func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				g := &gate{}
				addr := serve(t, kind, g)
				c := dial(ctx, t, addr)
				fill(ctx, t, c, 0, count)
				g.close()
				type result struct {
					n   int
					err error
				}
				seen := make(chan result, 1)
				b := dial(ctx, t, addr)
				go func() {
					if selector == "" {
						n, err := browse(ctx, b, "")
						seen <- result{n, err}
						return
					}
					var h frame.Header
					h.Add("selector", selector)
					sub, err := b.Subscribe(ctx, queue, client.SubscribeOptions{Ack: "client-individual", Header: h})
					if err == nil {
						_, err = sub.Next(ctx)
					}
					seen <- result{count + 50, err}
				}()
				select {
				case <-g.there:
				case <-ctx.Done():
					t.Fatal("the store is not read")
				}
				fill(ctx, t, c, count, 50) // each with a receipt, while the store is held
				select {
				case r := <-seen:
					t.Errorf("it was not held: %d messages, %v", r.n, r.err)
				default:
				}
				g.open()
				if r := <-seen; r.err != nil || r.n < count {
					t.Errorf("%d messages are seen, %v", r.n, r.err)
				}
			})
		}
	}
}
