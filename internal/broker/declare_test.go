package broker_test

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/store/spool"
)

// TestDeclareBesideOthers: clients that give queues properties and clients that make these queues do
// not wait for each other for ever.
func TestDeclareBesideOthers(t *testing.T) {
	st := spool.New()
	b, err := broker.New(broker.Config{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var all sync.WaitGroup
		for k := range 4 {
			all.Go(func() {
				for i := range 20_000 {
					name := "/queue/" + strconv.Itoa(k) + "." + strconv.Itoa(i)
					if _, err := b.Declare(name, broker.Properties{MaxMessages: 1}, true); err != nil {
						t.Error(err)
					}
					if _, err := b.Address(name); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("they wait for each other")
	}
	b.Close()
	if err := st.Close(); err != nil {
		t.Error(err)
	}
}
