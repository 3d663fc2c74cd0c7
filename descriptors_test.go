package stompserver

import "testing"

func TestMaxConnections(t *testing.T) {
	for _, test := range []struct {
		most, files int
		http        bool
		all, byHTTP int
	}{
		{100_000, 0, true, 100_000, 100_000},
		{-1, 0, true, 0, 0},
		{100_000, 1 << 20, true, 100_000, 100_000},
		{100_000, 1024, false, 768, 192},
		{100_000, 1024, true, 576, 192},
		{100, 1024, true, 100, 100},
		{-1, 1024, true, 576, 192},
		{100_000, 64, true, 24, 8},
	} {
		all, byHTTP := maxConnections(test.most, test.files, test.http)
		if all != test.all || byHTTP != test.byHTTP {
			t.Errorf("%d of %d files, http %v: %d and %d, want %d and %d", test.most, test.files, test.http, all, byHTTP, test.all, test.byHTTP)
		}
	}
}
