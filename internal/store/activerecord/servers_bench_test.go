//go:build unix

package activerecord_test

import (
	"testing"

	"stompserver/internal/store"
	"stompserver/internal/store/activerecord"
	"stompserver/internal/store/storetest"
)

func BenchmarkServers(b *testing.B) {
	for name, start := range map[string]func(testing.TB) *server{"PostgreSQL": postgres, "MariaDB": mariadb} {
		b.Run(name, func(b *testing.B) {
			s := start(b)
			storetest.Bench(b, func(t testing.TB) store.Store { return spooled(t, s.database(t, t.TempDir())) })
		})
	}
}

func BenchmarkOncePostgreSQL(b *testing.B) {
	s := postgres(b)
	benchOnce(b, func(t testing.TB) *activerecord.Store { return open(t, s.database(t, t.TempDir())) })
}

func BenchmarkOnceMariaDB(b *testing.B) {
	s := mariadb(b)
	benchOnce(b, func(t testing.TB) *activerecord.Store { return open(t, s.database(t, t.TempDir())) })
}
