package stompserver

// filesKept is how many files, of those that the process may have open, are kept for the store,
// logs and listeners; where there are few, it is half of them.
const filesKept = 256

// maxConnections says how many clients may be connected at once: most (0 or less: any number),
// or fewer if the process may have only so many files open (0: any number), of which some are
// for other things than clients; and how many may speak HTTP, which takes a file as well.
func maxConnections(most, files int, http bool) (all, byHTTP int) {
	all = max(most, 0)
	if files <= 0 {
		return all, all
	}
	left := files - min(filesKept, files/2)
	byHTTP = max(left/4, 1)
	if http {
		left -= byHTTP
	}
	if all == 0 {
		return left, byHTTP
	}
	return min(all, left), min(all, byHTTP)
}

// MaxConnections is how many clients are let in at once: limits.connections, or fewer where the
// system does not let the process open as many files; 0 is any number.
func (s *Server) MaxConnections() int {
	all, _ := s.maxConnections(s.cfg)
	return all
}

func (s *Server) maxConnections(cfg Config) (all, byHTTP int) {
	return maxConnections(cfg.Limits.Connections, openFiles(), s.cfg.HTTP.Listen != "")
}
