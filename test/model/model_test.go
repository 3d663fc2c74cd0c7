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

	"stompserver/test/process"
)

var (
	seedFlag     = flag.Uint64("model.seed", 1, "of the first program; 0 picks one")
	programsFlag = flag.Int("model.programs", 20, "how many are played on each store")
	killsFlag    = flag.Int("model.kills", 4, "how many programs are played on each store of the built server, which they kill")
	stepsFlag    = flag.Int("model.steps", 120, "of each")
	themeFlag    = flag.Int("model.theme", -1, "which one, of those that there are; default all in turn")
	storesFlag   = flag.String("model.stores", "", "which ones, with commas between; default all")
)

func TestMain(m *testing.M) { process.Main(m, race) }

// TestModel plays random programs on every store. One that fails is made as short as possible.
func TestModel(t *testing.T) {
	for _, name := range sortedKeys(stores) {
		playOn(t, name, *programsFlag, 1, once(func(seed uint64, program []step) (*game, error) { return run(t, name, seed, program) }))
	}
}

// outsides are the kinds of stores of the built server, each with its settings.
var outsides = map[string][]string{
	"journal":      {"STOMPSERVER_QUEUE=journal"},
	"file":         {"STOMPSERVER_QUEUE=file"},
	"dbm":          {"STOMPSERVER_QUEUE=dbm"},
	"activerecord": {"STOMPSERVER_QUEUE=activerecord"},
}

// TestKill plays random programs with the built server, which is killed again and again.
func TestKill(t *testing.T) {
	for _, name := range sortedKeys(outsides) {
		playOn(t, name, *killsFlag, 4, player{
			play: func(seed uint64, program []step) (*game, error) {
				return playOutside(t, outsides[name], seed, program, patience)
			},
			again: func(seed uint64, program []step) (*game, error) {
				return playOutside(t, outsides[name], seed, program, patience/10)
			},
			tries: 3, keep: true,
		})
	}
}

// A player plays programs.
type player struct {
	play  func(seed uint64, program []step) (*game, error)
	again func(seed uint64, program []step) (*game, error) // one that has failed
	tries int                                              // how often, until one that passes is said to pass
	keep  bool                                             // what happens once is an error
}

// once is a player of programs of which nothing but chance within the server is different each time.
func once(play func(seed uint64, program []step) (*game, error)) player {
	return player{play: play, again: play, tries: 1}
}

// fails plays a program that may fail.
func (p player) fails(seed uint64, program []step) (g *game, err error) {
	for range p.tries {
		if g, err = p.again(seed, program); err != nil {
			break
		}
	}
	return g, err
}

// playOn plays programs on a store.
func playOn(t *testing.T, name string, programs, crashes int, p player) {
	if *seedFlag == 0 {
		*seedFlag = rand.Uint64() >> 16
	}
	if *storesFlag != "" && !slices.Contains(strings.Split(*storesFlag, ","), name) {
		return
	}
	t.Run(name, func(t *testing.T) {
		t.Logf("-model.seed %d", *seedFlag)
		for i := range uint64(programs) {
			seed := *seedFlag + i
			program := generate(seed, *stepsFlag, crashes)
			if g, err := p.play(seed, program); err != nil {
				if report(t, g, seed, program, err, p); t.Failed() {
					return
				}
			}
		}
	})
}

// report makes the program short and tells what it does.
func report(t *testing.T, g *game, seed uint64, program []step, err error, p player) {
	t.Logf("-model.seed %d: %v", seed, err)
	if p.keep {
		t.Errorf("-model.seed %d: %v\n%s", seed, err, g.tell())
	}
	for range 2 { // what groups share is dealt anew each time, and is none of the model's business
		if _, again := p.fails(seed, program); again == nil {
			t.Logf("-model.seed %d: it does not happen again", seed)
			return
		}
	}
	deadline := time.Now().Add(20 * time.Second)
	for size := len(program) / 2; size > 0 && time.Now().Before(deadline); {
		shorter := false
		for at := 0; at < len(program) && time.Now().Before(deadline); {
			without := slices.Concat(program[:at], program[min(at+size, len(program)):])
			if _, e := p.fails(seed, without); e != nil && class(e) == class(err) {
				program, shorter = without, true
			} else {
				at += size
			}
		}
		if !shorter {
			size /= 2
		}
	}
	g, again := p.fails(seed, program)
	if err = again; err == nil {
		t.Fatalf("-model.seed %d: it fails, and its short form only now and then: %v", seed, program)
	}
	t.Errorf("-model.seed %d: %v\n%s%v", seed, err, g.tell(), program)
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
func generate(seed uint64, steps, crashes int) []step {
	r := rand.New(rand.NewPCG(seed, 1))
	kinds := []string{}
	for kind, n := range map[string]int{
		"connect": 2, "send": 14, "retain": 1, "subscribe": 5, "unsubscribe": 1, "ack": 9, "nack": 6, "begin": 2, "commit": 2, "abort": 1,
		"leave": 1, "destroy": 1, "cancel": 1, "sleep": 3, "browse": 1, "restart": 1, "crash": crashes,
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
		if s.kind == "restart" || s.kind == "crash" { // everybody is gone
			program = append(program, step{kind: "connect"}, step{kind: "connect"}, step{kind: "subscribe", n: s.n})
		}
	}
	return program
}

// playOutside plays a program with the built server.
func playOutside(t *testing.T, settings []string, seed uint64, program []step, patience time.Duration) (g *game, err error) {
	dir, err := os.MkdirTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	r := rand.New(rand.NewPCG(seed, 2))
	g = newGame(seed)
	g.world, g.lasting, g.slowly, g.buries = &outside{t: t, dir: dir, settings: settings, patience: patience}, true, 200_000, r.IntN(2) == 0
	return g, g.playAll(program)
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
	g = newGame(seed)
	world := &bubble{place: stores[name](dir), window: pick([]int64{0, 2000, 1}, r.IntN(3))}
	g.world, g.cramped = world, world.window > 0 && name != "memory"
	g.lasting, g.delay, g.buries = name != "memory", pick([]time.Duration{0, 0, 50 * time.Millisecond}, r.IntN(3)), r.IntN(2) == 0
	synctest.Test(t, func(*testing.T) { err = g.playAll(program) })
	return g, err
}

func newGame(seed uint64) *game {
	theme := pick(themes, int(seed%uint64(len(themes))))
	if *themeFlag >= 0 {
		theme = pick(themes, *themeFlag)
	}
	return &game{
		theme: theme, slowly: 1, retained: []entry{{}}, byBody: map[string][]*message{}, byID: map[string]*message{}, open: map[string]*request{},
		names: map[string]*name{}, numbers: map[int]*message{},
	}
}

// playAll plays a program from start to stop.
func (g *game) playAll(program []step) (err error) {
	if err := g.start(); err != nil {
		return err
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
	return err
}
