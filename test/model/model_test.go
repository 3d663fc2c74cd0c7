package model_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var (
	seedFlag     = flag.Uint64("model.seed", 0, "of the first program; 0 picks one")
	programsFlag = flag.Int("model.programs", 20, "how many are played on each store")
	stepsFlag    = flag.Int("model.steps", 120, "of each")
	storesFlag   = flag.String("model.stores", "", "which ones, with commas between; default all")
)

// TestModel plays random programs on every store. One that fails is made as short as possible.
func TestModel(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64() >> 16
	}
	for _, name := range sortedKeys(stores) {
		if *storesFlag != "" && !slices.Contains(strings.Split(*storesFlag, ","), name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Logf("-model.seed %d", seed)
			for i := range uint64(*programsFlag) {
				program := generate(seed+i, *stepsFlag)
				if _, err := run(t, name, seed+i, program); err != nil {
					if report(t, name, seed+i, program, err); t.Failed() {
						return
					}
				}
			}
		})
	}
}

// report makes the program short and tells what it does.
func report(t *testing.T, name string, seed uint64, program []step, err error) {
	t.Logf("-model.seed %d: %v", seed, err)
	for range 2 { // what groups share is dealt anew each time, and is none of the model's business
		if _, again := run(t, name, seed, program); again == nil {
			t.Logf("-model.seed %d: it does not happen again", seed)
			return
		}
	}
	deadline := time.Now().Add(20 * time.Second)
	for size := len(program) / 2; size > 0 && time.Now().Before(deadline); {
		shorter := false
		for at := 0; at < len(program) && time.Now().Before(deadline); {
			without := slices.Concat(program[:at], program[min(at+size, len(program)):])
			if _, e := run(t, name, seed, without); e != nil && class(e) == class(err) {
				program, shorter = without, true
			} else {
				at += size
			}
		}
		if !shorter {
			size /= 2
		}
	}
	g, again := run(t, name, seed, program)
	if err = again; err == nil {
		t.Fatalf("-model.seed %d: it fails, and its short form only now and then: %v", seed, program)
	}
	t.Errorf("-model.seed %d: %v\n%s\n%s%v", seed, err, strings.Join(g.trace, "\n"), g.describe(), program)
}

// class is what an error says, whatever it says it of.
func class(err error) string {
	for errors.Unwrap(err) != nil {
		err = errors.Unwrap(err)
	}
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, err.Error())
}

// generate makes a program.
func generate(seed uint64, steps int) []step {
	r := rand.New(rand.NewPCG(seed, 1))
	kinds := []string{}
	for kind, n := range map[string]int{
		"connect": 2, "send": 14, "retain": 1, "subscribe": 5, "unsubscribe": 1, "ack": 9, "nack": 6, "begin": 2, "commit": 2, "abort": 1,
		"leave": 1, "sleep": 3, "browse": 1, "restart": 1, "crash": 1,
	} {
		for range n {
			kinds = append(kinds, kind)
		}
	}
	slices.Sort(kinds)
	program := []step{{kind: "connect"}, {kind: "connect"}}
	for len(program) < steps {
		s := step{kind: kinds[r.IntN(len(kinds))]}
		for i := range s.n {
			s.n[i] = r.IntN(1000)
		}
		program = append(program, s)
	}
	return program
}

// run plays a program.
func run(t *testing.T, name string, seed uint64, program []step) (g *game, err error) {
	root, err := os.MkdirTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(root)
	dir := filepath.Join(root, "store")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(seed, 2))
	g = &game{
		place: stores[name](dir), lasting: name != "memory",
		window: pick([]int64{0, 2000, 1}, r.IntN(3)), delay: pick([]time.Duration{0, 0, 50 * time.Millisecond}, r.IntN(3)), buries: r.IntN(2) == 0,
		byBody: map[string]*message{}, open: map[string]*request{}, retained: []entry{{}},
	}
	synctest.Test(t, func(*testing.T) {
		if err = g.start(); err != nil {
			return
		}
		for i, s := range program {
			if err = g.play(s); err != nil {
				err = fmt.Errorf("step %d, %v: %w", i, s, err)
				break
			}
		}
		if e := g.stop(); err == nil {
			err = e
		}
	})
	return g, err
}
