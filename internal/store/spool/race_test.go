//go:build race

package spool_test

// The race detector has sync.Pool forget a part of what it is given.
const allocations = 500
