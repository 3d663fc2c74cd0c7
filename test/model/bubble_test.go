package model_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"testing/synctest"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/session"
	"stompserver/internal/store"
)

// A world is where the server of a game lives.
type world interface {
	// start starts the server with what is stored, and stop ends it as it should be.
	start(g *game) error
	stop() error

	dial() net.Conn

	// settle waits until nobody does anything, and compares what came.
	settle(g *game) error

	// await returns what comes to c until done says that it is all.
	await(c *client, done func(reply) bool) []reply

	// left is told that the connection of c is closed, and returns when the server knows.
	left(c *client)

	// pass lets time pass.
	pass(g *game, d time.Duration) error

	// crash ends the server in the middle of what s begins.
	crash(g *game, s step) error
}

// A bubble is one of synctest: the server is in this process, its disk is of a kind that forgets
// what was not synced, and time passes as the game wants.
type bubble struct {
	place    place
	window   int64
	store    store.Store
	broker   *broker.Broker
	sessions *session.Server
}

func (b *bubble) start(g *game) error {
	var err error
	if b.store, err = b.place.open(b.window); err != nil {
		return err
	}
	all, err := brokerRules()
	if err != nil {
		return err
	}
	b.broker, err = broker.New(broker.Config{
		Store: b.store, Durable: g.lasting, MakeFilter: session.MakeFilter, MaxDeliveries: maxDeliveries,
		DeadLetterExpired: g.buries, DeleteIdleAfter: -1, Rules: all, DedupeWindow: window,
		Redelivery: broker.Redelivery{Delay: g.delay, Multiplier: 2},
	})
	if err != nil {
		return err
	}
	b.sessions = session.NewServer(b.broker, session.Config{})
	return nil
}

func (b *bubble) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := b.sessions.Shutdown(ctx)
	b.broker.Close()
	return errors.Join(err, b.store.Close())
}

func (b *bubble) dial() net.Conn {
	here, there := net.Pipe()
	b.sessions.ServeConn(there, nil)
	return here
}

func (b *bubble) settle(g *game) error {
	synctest.Wait()
	g.tick()
	if err := g.hear(); err != nil {
		return err
	}
	if err := g.unanswered(); err != nil && !g.crashing {
		return err
	}
	if err := g.judge(); err != nil {
		return err
	}
	g.judged()
	return nil
}

func (b *bubble) await(c *client, done func(reply) bool) []reply {
	synctest.Wait()
	came := c.take()
	for _, r := range came {
		done(r)
	}
	return came
}

func (b *bubble) left(*client) {}

// pass stops at each moment at which something is to happen.
func (b *bubble) pass(g *game, d time.Duration) error {
	for end := now() + d.Milliseconds(); now() < end; {
		next := end
		for _, m := range g.all {
			if at := m.due(); at > now() {
				next = min(next, at)
			}
		}
		for _, q := range g.queues {
			for _, w := range q.line {
				next = min(next, w.next())
			}
		}
		time.Sleep(time.Duration(next-now()) * time.Millisecond)
		g.step++ // what arrives does so later than what arrived before
		if err := b.settle(g); err != nil {
			return err
		}
	}
	return nil
}

// crash cuts the power.
func (b *bubble) crash(g *game, s step) error {
	s.kind = pick([]string{"", "send", "commit", "commit", "ack", "nack", "leave", "retain"}, s.n[7])
	g.logf("CRASH in %s", s.kind)
	if s.kind != "" {
		b.place.arm(s.n[6] % 12)
	}
	g.do(s)
	if err := b.settle(g); err != nil {
		return err
	}
	if err := b.place.crash(rand.New(rand.NewPCG(uint64(s.n[5]), 0))); err != nil {
		return err
	}
	_ = g.stop() // which has lost its store
	return nil
}
