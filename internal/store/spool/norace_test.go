//go:build !race

package spool_test

const allocations = 2 // of a thousand messages: the window's own list
