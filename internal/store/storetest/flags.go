package storetest

import (
	"flag"
	"math/rand/v2"
	"testing"
)

// Flags are those of the crash tests of a package: -NAME.seed and -NAME.rounds.
type Flags struct {
	Rounds *int

	name string
	seed *uint64
}

// CrashFlags defines them, with so many rounds where none are asked for.
func CrashFlags(name string, rounds int) *Flags {
	return &Flags{
		Rounds: flag.Int(name+".rounds", rounds, "of the crash tests"),
		name:   name, seed: flag.Uint64(name+".seed", 0, "of the crash tests; 0 picks one"),
	}
}

// Seed is that of a test, which logs how to have it again.
func (f *Flags) Seed(t *testing.T) uint64 {
	t.Helper()
	seed := *f.seed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-%s.seed %d", f.name, seed)
	return seed
}
