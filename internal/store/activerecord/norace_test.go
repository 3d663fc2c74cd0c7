//go:build !race

package activerecord_test

const race = false
