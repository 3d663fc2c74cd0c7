package loadgen

import (
	"context"
	"errors"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A Result is what a run measured. Times are in seconds, latencies in milliseconds, sizes
// in bytes. Its JSON form is what `bench --json` prints.
type Result struct {
	Server    string  `json:"server"`
	Producers int     `json:"producers,omitempty"`
	Consumers int     `json:"consumers"`
	Queues    int     `json:"queues,omitempty"`
	Topic     bool    `json:"topic"`
	Size      int     `json:"size,omitempty"`
	Ack       string  `json:"ack,omitempty"`
	Receipts  bool    `json:"receipts"`
	Rate      float64 `json:"rate,omitempty"` // asked for

	Seconds      float64 `json:"seconds"` // the measured part; the next four belong to it
	Sent         int64   `json:"sent"`
	Received     int64   `json:"received"`
	SentRate     float64 `json:"sent_per_second"`
	ReceivedRate float64 `json:"received_per_second"`

	TotalSent     int64 `json:"total_sent"` // with warm-up and drain
	TotalReceived int64 `json:"total_received"`
	Lost          int64 `json:"lost"`
	Duplicated    int64 `json:"duplicated"`
	Disorder      int64 `json:"out_of_order"`
	Foreign       int64 `json:"foreign,omitempty"` // messages of others in the destinations
	Unconfirmed   int64 `json:"unconfirmed,omitempty"`

	Latency *Latency `json:"latency_ms,omitempty"`         // from sending to receiving
	Receipt *Latency `json:"receipt_latency_ms,omitempty"` // from sending to the receipt

	ServerUse    *ServerUse `json:"server_use,omitempty"`
	GeneratorCPU float64    `json:"generator_cpu_seconds"`

	Idle *IdleUse `json:"idle,omitempty"`

	Problem string `json:"problem,omitempty"` // why the run ended before its time
}

// Latency holds percentiles of the time since a message was sent or, with a rate, since
// it was due.
type Latency struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p99_9"`
	Max   float64 `json:"max"`
}

// ServerUse is what the broker's process spent in the measured part.
type ServerUse struct {
	CPU          float64 `json:"cpu_seconds"`
	PerCPUSecond float64 `json:"messages_per_cpu_second"` // received, without consumers sent
	BytesPerCPU  float64 `json:"bytes_per_cpu_second"`    // of their bodies
	RSS          int64   `json:"rss"`
	RSSPeak      int64   `json:"rss_peak"` // of looks a tenth of a second apart
}

// OK says that nothing is amiss.
func (r *Result) OK() bool {
	return r.Problem == "" && r.Lost == 0 && r.Duplicated == 0 && r.Disorder == 0 && r.Unconfirmed == 0
}

// A snapshot is how far a run is at one moment.
type snapshot struct {
	at             int64
	sent, received int64
	own            time.Duration
	use            processUse
	peak           int64
	watch          func() // looks at the process' memory
}

func (r *run) take() (*snapshot, error) {
	c := r.cfg
	s := &snapshot{watch: func() {}}
	if c.PID > 0 {
		u, err := readProcess(c.PID, c.PIDChildren)
		if err != nil {
			return nil, err
		}
		s.use, s.peak = u, u.rss
		s.watch = func() {
			if u, err := readProcess(c.PID, c.PIDChildren); err == nil {
				s.peak = max(s.peak, u.rss)
			}
		}
	}
	s.at, s.sent, s.received, s.own = clock(), r.sent(), r.received(), ownCPU()
	return s, nil
}

func (r *run) result(before, after *snapshot, complete bool, problem error) *Result {
	c := r.cfg
	seconds := float64(after.at-before.at) / 1e9
	res := &Result{
		Server: c.addr, Producers: c.Producers, Consumers: c.Consumers, Queues: c.Queues, Topic: c.Topic,
		Size: c.Size, Ack: c.Ack, Receipts: c.Receipts, Rate: c.Rate,
		Seconds: seconds, Sent: after.sent - before.sent, Received: after.received - before.received,
		TotalSent: r.sent(), TotalReceived: r.received(), GeneratorCPU: (after.own - before.own).Seconds(),
	}
	res.SentRate, res.ReceivedRate = float64(res.Sent)/seconds, float64(res.Received)/seconds
	if c.Receipts {
		res.Unconfirmed = res.TotalSent - r.answered()
	}
	if c.Consumers > 0 {
		t := r.settle()
		res.Lost, res.Duplicated, res.Disorder = t.lost, t.duplicated, t.disorder
		for _, k := range r.consumers {
			res.Foreign += k.foreign.Load()
		}
	}
	res.Latency = percentiles(merge(r.shards))
	res.Receipt = percentiles(merge(r.receipts))
	if c.PID > 0 {
		res.ServerUse = serverUse(c, res, before, after)
	}
	switch {
	case errors.Is(problem, context.Canceled) && complete:
		res.Problem = "interrupted"
	case problem != nil:
		res.Problem = problem.Error()
	case !complete:
		res.Problem = "nothing came any more"
	}
	return res
}

func serverUse(c *Config, res *Result, before, after *snapshot) *ServerUse {
	u := &ServerUse{
		CPU: (after.use.cpu - before.use.cpu).Seconds(), RSS: after.use.rss,
		RSSPeak: max(before.peak, after.peak),
	}
	n := res.Received
	if c.Consumers == 0 {
		n = res.Sent
	}
	if u.CPU > 0 {
		u.PerCPUSecond = float64(n) / u.CPU
		u.BytesPerCPU = u.PerCPUSecond * float64(c.Size)
	}
	return u
}

// settle sums up what became of all streams. Call it when the consumers have ended.
func (r *run) settle() (sum tally) {
	for _, s := range r.streams {
		var group []*seen
		for _, k := range r.consumers {
			if r.cfg.Topic {
				sum.plus(settle(s.sent.Load(), k.seen[s.id]))
			}
			group = append(group, k.seen[s.id])
		}
		if !r.cfg.Topic {
			sum.plus(settle(s.sent.Load(), group...))
		}
	}
	return sum
}

func percentiles(h *hdrhistogram.Histogram) *Latency {
	if h.TotalCount() == 0 {
		return nil
	}
	at := func(p float64) float64 { return float64(h.ValueAtPercentile(p)) / 1e6 }
	return &Latency{Count: h.TotalCount(), P50: at(50), P99: at(99), P999: at(99.9), Max: float64(h.Max()) / 1e6}
}
