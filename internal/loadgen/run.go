package loadgen

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"stompserver/internal/client"
)

// A run is one load under way.
type run struct {
	cfg        *Config
	proto      protocol
	producers  []*producer
	consumers  []*consumer
	streams    []*stream
	gates      []*gate  // by destination
	deliveries int64    // of one message
	shards     []*shard // of the time from sending to receiving
	receipts   []*shard // and to the receipt

	started  int64
	from, to atomic.Int64 // the measured part, by clock

	stop     chan struct{} // closed when producers shall end
	stopOnce sync.Once
	stopped  atomic.Bool

	wg       sync.WaitGroup // every goroutine of the run
	senders  sync.WaitGroup // those that send
	leaving  atomic.Bool    // connections end because we want it
	mu       sync.Mutex
	firstErr error // guarded by mu
	failed   chan struct{}
}

// Run puts the load of c on its broker and says what came of it. When the load ran but
// something is amiss (a broker that left, messages that never came), there is a Result
// and it says so; the error is for runs that have none.
func Run(ctx context.Context, c Config) (*Result, error) {
	if err := c.prepare(); err != nil {
		return nil, err
	}
	if c.Idle > 0 {
		return idle(ctx, &c)
	}
	r := &run{cfg: &c, stop: make(chan struct{}), failed: make(chan struct{})}
	r.proto = c.protocol()
	r.plan()
	defer r.wg.Wait()
	defer r.leave()
	if err := r.connect(ctx); err != nil {
		return nil, err
	}
	return r.drive(ctx)
}

func (c *Config) protocol() protocol {
	if c.nats {
		return &natsProtocol{c}
	}
	p := &stompProtocol{cfg: c, acks: c.Ack != "auto"}
	if c.Persistent {
		p.headers = "persistent:true\n"
	}
	return p
}

// plan deals destinations to producers and consumers: each has its share, so that none of
// them is without either.
func (r *run) plan() {
	c := r.cfg
	r.deliveries = 1
	if c.Topic && c.Consumers > 0 {
		r.deliveries = int64(c.Consumers)
	}
	room := int64(c.Backlog) * r.deliveries
	if c.Consumers == 0 {
		room = math.MaxInt64
	}
	for range c.Queues {
		r.gates = append(r.gates, newGate(room, batchCount*r.deliveries))
	}
	r.shards, r.receipts = newShards(c.Consumers), newShards(c.Producers)
	for i := range c.Producers {
		p := &producer{run: r, lat: latencies{shard: r.receipts[i%len(r.receipts)]}}
		for _, d := range share(i, c.Producers, c.Queues) {
			s := newStream(c, r.proto, len(r.streams), d, r.gates[d])
			r.streams = append(r.streams, s)
			p.streams = append(p.streams, s)
		}
		p.quota = math.MaxInt64
		if c.Messages > 0 {
			p.quota = c.Messages / int64(c.Producers)
			if int64(i) < c.Messages%int64(c.Producers) {
				p.quota++
			}
		}
		if c.Receipts {
			p.window = newGate(int64(c.Window), int64(p.streams[0].count))
			p.times = make([]atomic.Int64, 4*c.Window)
		}
		r.producers = append(r.producers, p)
	}
	for i := range c.Consumers {
		k := &consumer{run: r, dests: share(i, c.Consumers, c.Queues), lat: latencies{shard: r.shards[i%len(r.shards)]}}
		if c.Topic {
			k.dests = share(0, 1, c.Queues)
		}
		k.given = make([]int64, c.Queues)
		for range r.streams {
			k.seen = append(k.seen, newSeen())
		}
		r.consumers = append(r.consumers, k)
	}
}

// share is which of things the i-th of n has: one if there are no more things than
// sharers, else every n-th.
func share(i, n, things int) (mine []int) {
	if n >= things {
		return []int{i % things}
	}
	for t := i; t < things; t += n {
		mine = append(mine, t)
	}
	return mine
}

// patienceForReceipt is how long a SUBSCRIBE may lack its receipt before it is asked for
// in another way.
const patienceForReceipt = 2 * time.Second

func (r *run) connect(ctx context.Context) error {
	c := r.cfg
	ctx, cancel := context.WithTimeout(ctx, c.Timeout+time.Duration(c.Consumers+c.Producers)*10*time.Millisecond)
	defer cancel()
	buffer := linkBuffer
	if c.Consumers > 100 {
		buffer = linkBuffer / 4
	}
	ready := make(chan struct{}, c.Consumers)
	for i, k := range r.consumers {
		l, err := dial(ctx, c, r.proto, buffer)
		if err != nil {
			return err
		}
		k.link, k.ready = l, ready
		if err := k.subscribe(); err != nil {
			return err
		}
		r.wg.Go(func() { r.ended(k.loop()) })
		r.report(Progress{Phase: "connecting", Done: float64(i) / float64(c.Consumers+c.Producers)})
	}
	probe := time.NewTimer(patienceForReceipt)
	defer probe.Stop()
	for confirmed := 0; confirmed < len(r.consumers); {
		select {
		case <-ready:
			confirmed++
		case <-probe.C:
			for _, k := range r.consumers {
				if err := k.probe(); err != nil {
					return err
				}
			}
		case <-r.failed:
			return r.err()
		case <-ctx.Done():
			return &client.DialError{Address: c.addr, Connected: true, Err: fmt.Errorf("a SUBSCRIBE was not confirmed within %v", c.Timeout)}
		}
	}
	for _, p := range r.producers {
		l, err := dial(ctx, c, r.proto, linkBuffer/4)
		if err != nil {
			return err
		}
		p.link = l
	}
	return nil
}

// drive runs the phases.
func (r *run) drive(ctx context.Context) (*Result, error) {
	c := r.cfg
	warm := int64(math.MaxInt64)
	if c.Duration > 0 {
		warm = int64(c.Warmup)
	}
	r.started = clock()
	r.from.Store(r.started)
	r.to.Store(math.MaxInt64)
	if c.Duration > 0 {
		r.from.Store(r.started + warm)
		r.to.Store(r.started + warm + int64(c.Duration))
	}
	before, err := r.take()
	if err != nil {
		return nil, err
	}
	for _, p := range r.producers {
		r.wg.Go(func() { r.ended(p.listen()) })
		r.senders.Add(1)
		r.wg.Go(func() {
			defer r.senders.Done()
			r.ended(p.loop())
		})
	}
	sentAll := make(chan struct{})
	r.wg.Go(func() { r.senders.Wait(); close(sentAll) })

	var after *snapshot
	if c.Duration > 0 {
		if !r.sleep(ctx, "warm-up", r.from.Load(), before.watch) {
			return nil, errors.Join(r.err(), ctx.Err())
		}
		if before, err = r.take(); err != nil {
			return nil, err
		}
		if !r.sleep(ctx, "measuring", r.to.Load(), before.watch) {
			r.to.Store(clock())
		}
		if after, err = r.take(); err != nil {
			return nil, err
		}
		r.halt()
	}
	complete, err := r.drain(ctx, sentAll, before)
	if after == nil {
		after, _ = r.take() // the process may be gone, which is told elsewhere
		if after != nil {
			after.at = r.lastAt()
		}
	}
	if after == nil || (err != nil && after.sent == before.sent) {
		return nil, errors.Join(err, r.err())
	}
	r.leave()
	r.wg.Wait()
	return r.result(before, after, complete, errors.Join(err, r.err())), nil
}

// sleep waits until a time of clock and reports progress meanwhile; false if the run broke.
func (r *run) sleep(ctx context.Context, phase string, until int64, watch func()) bool {
	begin := clock()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(time.Duration(until - begin))
	defer end.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-r.failed:
			return false
		case <-end.C:
			return true
		case <-tick.C:
			watch()
			now := clock()
			r.report(Progress{
				Phase: phase, Elapsed: time.Duration(now - begin), Sent: r.sent(), Received: r.received(),
				Done: float64(now-begin) / float64(max(1, until-begin)),
			})
		}
	}
}

// drain waits until all that was sent has come, or nothing comes any more. When ctx ends,
// no more is sent, and what is under way is waited for all the same: it is not lost.
func (r *run) drain(ctx context.Context, sentAll <-chan struct{}, before *snapshot) (complete bool, err error) {
	c := r.cfg
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	phase := "draining"
	if c.Messages > 0 {
		phase = "measuring"
	}
	var progress, ticks int64
	progressAt := clock()
	interrupted := ctx.Done()
	for sending := true; ; ticks++ {
		select {
		case <-interrupted:
			r.halt()
			interrupted = nil
		case <-r.failed:
			r.halt()
			return false, ctx.Err()
		case <-sentAll:
			sending = false
			sentAll = nil
		case <-tick.C:
		}
		sent, got, answered := r.sent(), r.received(), r.answered()
		want := sent * r.deliveries
		if c.Consumers == 0 {
			want = 0
		}
		owed := int64(0)
		if c.Receipts {
			owed = sent - answered
		}
		if !sending && got >= want && owed <= 0 {
			return true, ctx.Err()
		}
		if sum := sent + got + answered; sum != progress {
			progress, progressAt = sum, clock()
		} else if clock()-progressAt > int64(r.patience()) {
			r.halt()
			return false, ctx.Err()
		}
		if ticks%50 == 0 {
			before.watch()
			r.report(Progress{
				Phase: phase, Elapsed: time.Duration(clock() - r.started), Sent: sent, Received: got,
				Done: float64(sent) / float64(max(1, c.Messages)),
			})
		}
	}
}

// patience is how long nothing may come before what is missing counts as lost.
func (r *run) patience() time.Duration {
	d := r.cfg.Timeout / 2
	if rate := r.cfg.Rate; rate > 0 {
		d += time.Duration(float64(time.Second) * float64(r.cfg.Producers) / rate)
	}
	return d
}

func (r *run) over() bool { return r.stopped.Load() || clock() >= r.to.Load() }

// halt ends the producers.
func (r *run) halt() {
	r.stopped.Store(true)
	r.stopOnce.Do(func() { close(r.stop) })
}

// ended takes the end of a connection's goroutine.
func (r *run) ended(err error) {
	if err != nil && !r.leaving.Load() {
		r.fail(err)
	}
}

func (r *run) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.firstErr == nil {
		r.firstErr = err
		close(r.failed)
	}
}

func (r *run) err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.firstErr
}

// leave takes leave of the broker, and closes what it does not close itself within a
// moment. It may be called twice.
func (r *run) leave() {
	r.halt()
	if r.leaving.Swap(true) {
		return
	}
	var conns []net.Conn
	for _, k := range r.consumers {
		if k.link != nil {
			conns = append(conns, k.link.conn)
		}
	}
	for _, p := range r.producers {
		if p.link != nil {
			conns = append(conns, p.link.conn)
		}
	}
	bye := r.proto.bye()
	for _, c := range conns {
		_ = c.SetDeadline(time.Now().Add(time.Second))
		if bye == nil {
			_ = c.Close()
			continue
		}
		_, _ = c.Write(bye)
	}
	r.wg.Wait() // by the deadlines above at the latest
	for _, c := range conns {
		_ = c.Close()
	}
}

func (r *run) report(p Progress) {
	if r.cfg.Progress != nil {
		r.cfg.Progress(p)
	}
}

func (r *run) sent() (n int64) {
	for _, s := range r.streams {
		n += s.sent.Load()
	}
	return n
}

func (r *run) received() (n int64) {
	for _, k := range r.consumers {
		n += k.received.Load()
	}
	return n
}

func (r *run) answered() (n int64) {
	for _, p := range r.producers {
		n += p.answered.Load()
	}
	return n
}

// lastAt is when the last message came, or if none is awaited, now.
func (r *run) lastAt() (at int64) {
	for _, k := range r.consumers {
		at = max(at, k.lastAt.Load())
	}
	if at == 0 {
		at = clock()
	}
	return at
}
