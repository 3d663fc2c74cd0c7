//go:build !race

package clients_test

const race = false
