//go:build race

package model_test

// race: the server is built with the race detector when the tests are.
const race = true
