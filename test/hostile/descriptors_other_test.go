//go:build !unix

package hostile_test

func descriptors() int { return 4096 }
