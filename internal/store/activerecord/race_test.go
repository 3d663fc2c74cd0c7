//go:build race

package activerecord_test

// race: the database in Go is ten times as slow, so the longest parts are left to the run without.
const race = true
