//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"stompserver/scripts/internal/trial"
)

// A row is one kind of work.
type row struct {
	key, title string
	args       []string
	unit       unit
}

// A unit is how a row's value is read and shown.
type unit int

const (
	perCPU   unit = iota // messages per CPU-second of the broker, and a second
	bytesCPU             // bytes of bodies per CPU-second
	latency              // p50 and p99, ms
	perConn              // KiB resident
	started              // ms
)

var rows = []*row{
	{"queue", "queue, 100 B, 1 producer, 1 consumer", nil, perCPU},
	{"queue4", "queue, 100 B, 4 × 4 × 4", []string{"--producers=4", "--consumers=4", "--queues=4"}, perCPU},
	{"fanout10", "fan-out to 10", []string{"--topic", "--consumers=10"}, perCPU},
	{"fanout100", "fan-out to 100", []string{"--topic", "--consumers=100"}, perCPU},
	{"fanout1000", "fan-out to 1000", []string{"--topic", "--consumers=1000"}, perCPU},
	{"acks", "client-individual acks, prefetch 100", []string{"--ack=client-individual", "--prefetch=100"}, perCPU},
	{"receipts", "queue, a receipt for each SEND", []string{"--receipts"}, perCPU},
	{"latency5k", "latency at 5,000/s", []string{"--rate=5000"}, latency},
	{"latency20k", "latency at 20,000/s", []string{"--rate=20000"}, latency},
	{"body1m", "bodies of 1 MiB", []string{"--size=1048576"}, bytesCPU},
	{"body16m", "bodies of 16 MiB", []string{"--size=16777216"}, bytesCPU},
	{"idle", "idle connection with one subscription", []string{"--idle=2000"}, perConn},
	{"start", "start to first accepted connection", nil, started},
}

// A value is what one run of a row gave.
type value struct {
	main, more float64 // more: messages a second, or p99
	note       string  // instead: why there is none
	flaw       string  // beside: what was not right
}

func (v value) String() string {
	if v.note != "" {
		return v.note
	}
	return fmt.Sprintf("%.4g (%.4g) %s", v.main, v.more, v.flaw)
}

// measure puts the row's load on r's broker once. A broker that died of the row before is
// started again.
func (w *row) measure(ctx context.Context, r *runner) value {
	if r.peer.without != nil {
		if why := r.peer.without(w.key); why != "" {
			return value{note: why}
		}
	}
	if w.unit == perConn || w.unit == started {
		own := &runner{peer: r.peer, o: r.o}
		defer own.stop()
		if err := own.start(ctx); err != nil {
			return value{note: "failed: " + err.Error()}
		}
		if w.unit == started {
			return value{main: float64(own.StartTime) / 1e6}
		}
		r = own
	} else if !r.Alive() {
		trial.Progress("%s has died, starting it again", r.peer.title)
		if err := r.start(ctx); err != nil {
			return value{note: "failed: " + err.Error()}
		}
	}
	out, err := w.bench(ctx, r)
	if err == nil && out.Use == nil && out.Idle == nil {
		err = errors.New(out.Problem)
	}
	if err != nil {
		return value{note: "failed: " + err.Error()}
	}
	return w.read(out)
}

func (w *row) bench(ctx context.Context, r *runner) (trial.Outcome, error) {
	o := r.o
	args := append([]string{"--server", r.url(), "--pid", strconv.Itoa(r.Cmd.Process.Pid)}, w.args...)
	if r.peer.children {
		args = append(args, "--pid-children")
	}
	if r.peer.protocol != "" {
		args = append(args, "--protocol", r.peer.protocol)
	}
	if w.unit != perConn {
		args = append(args, "--duration", o.duration.String(), "--warmup", o.warmup.String())
	}
	ctx, cancel := context.WithTimeout(ctx, o.duration+o.warmup+time.Minute)
	defer cancel()
	return trial.Bench(ctx, o.tool, args...)
}

func (w *row) read(out trial.Outcome) value {
	v := value{flaw: out.Flaw()}
	switch {
	case w.unit == perConn && out.Idle != nil:
		v.main = out.Idle.PerConnection / 1024
	case w.unit == latency && out.Latency != nil:
		v.main, v.more = out.Latency.P50, out.Latency.P99
	case w.unit == perCPU && out.Use != nil && out.Use.PerCPU > 0:
		v.main, v.more = out.Use.PerCPU, out.ReceivedRate
	case w.unit == bytesCPU && out.Use != nil && out.Use.BytesCPU > 0:
		v.main = out.Use.BytesCPU
	default:
		return value{note: "failed: " + out.Problem}
	}
	return v
}
