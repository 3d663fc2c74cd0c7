package stompserver

import (
	"os"
	"sync"
	"time"

	"stompserver/internal/web"
)

// A probe finds out now and then whether the directory of the store can be written. Who asks
// more often gets the last answer: anybody may.
type probe struct {
	mu    sync.Mutex // guards what follows, and is held while the disk is tried
	tried time.Time
	err   error
}

const (
	probeEvery = time.Second
	probeSize  = 4 << 10
)

// storage tries it.
func (p *probe) storage(dir string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.tried) >= probeEvery {
		p.err = tryWriting(dir)
		p.tried = time.Now()
	}
	return p.err
}

func tryWriting(dir string) error {
	f, err := os.CreateTemp(dir, ".ready-*")
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, probeSize))
	if e := f.Close(); err == nil {
		err = e
	}
	if e := os.Remove(f.Name()); err == nil {
		err = e
	}
	return err
}

// checks are what the server needs to serve. The listeners are open and the store was read
// when this is asked at all.
func (s *Server) checks() []web.Check {
	s.mu.Lock()
	stopping := s.stopped
	s.mu.Unlock()
	all := []web.Check{{Name: "server", OK: !stopping}, {Name: "memory", OK: !s.broker.MemoryFull()}}
	if stopping {
		all[0].Detail = "the server is stopping"
	}
	if !all[1].OK {
		all[1].Detail = "the messages held need all of limits.memory: senders wait"
	}
	if s.cfg.inStorage() {
		c := web.Check{Name: "storage", OK: true}
		if err := s.probe.storage(s.cfg.Storage); err != nil {
			c.OK, c.Detail = false, "the storage directory cannot be written: "+reason(err).Error()
		}
		all = append(all, c)
	}
	if remote, ok := s.store.(interface{ Away() error }); ok && Durable(s.cfg.Queue) && !s.cfg.inStorage() {
		c := web.Check{Name: "storage", OK: remote.Away() == nil}
		if !c.OK {
			c.Detail = "the database does not answer"
		}
		all = append(all, c)
	}
	return all
}

// inStorage reports whether the store is in the storage directory, and not a server of its own.
func (c *Config) inStorage() bool {
	return Durable(c.Queue) && (c.Queue != "activerecord" || c.DatabaseYML == "")
}
