//go:build !race

package durable_test

const race = false
