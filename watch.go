package stompserver

import (
	"context"
	"os"
	"path/filepath"

	"stompserver/internal/transport"
)

// watch has certificates and the password file read again when they change. Called with mu held.
func (s *Server) watch() {
	ctx, cancel := context.WithCancel(context.Background())
	s.unwatch = cancel
	start := func(what string, watch func(context.Context) error) {
		s.accepting.Go(func() { // ended by Shutdown, which waits
			if err := watch(ctx); err != nil {
				s.cfg.Log.Warn("a file is not watched: a change of it needs a HUP", "file", what, "err", err)
			}
		})
	}
	if s.certs != nil {
		start("certificates", s.certs.Watch)
		s.accepting.Go(func() { s.certs.Remind(ctx, s.cfg.Log) }) // likewise
	}
	if s.acme != nil {
		s.accepting.Go(func() { s.acme.Run(ctx) }) // likewise
	}
	if s.directory != nil {
		s.accepting.Go(func() { s.watchDirectory(ctx) }) // ended by Shutdown, which waits
	}
	if s.passwd == nil {
		return
	}
	var files []string
	for _, u := range s.cfg.Users {
		if u.PasscodeFile != "" {
			files = append(files, u.PasscodeFile)
		}
	}
	for _, f := range s.cfg.PasswdFiles {
		if _, err := os.Stat(filepath.Dir(f)); err == nil { // of those that may be there one is taken
			files = append(files, f)
		}
	}
	start("passwords", func(ctx context.Context) error {
		return transport.WatchFiles(ctx, files, func() {
			if !s.passwd.Changed() {
				return
			}
			if err := s.passwd.Reload(); err != nil {
				s.cfg.Log.Error("password file not reloaded, the users before stay", "err", err)
				return
			}
			s.cfg.Log.Info("password file reloaded")
			s.sessions.Recheck()
		})
	})
}
