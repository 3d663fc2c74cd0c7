//go:build race

package durable_test

// race: the server is built with the race detector when the tests are.
const race = true
