package pipeline

import (
	"math"
	"sync"

	"offpath/capture"
	"offpath/reassembly"
	"offpath/reassembly/content"
	"offpath/reassembly/http1"
	"offpath/reassembly/http2"
	"offpath/reassembly/internal/buffer"
	"offpath/reassembly/tcp"
	"offpath/reassembly/tls"
	"offpath/reassembly/tls/quic"
)

// Pipeline turns batches of packets into transactions.
type Pipeline struct {
	out     func(worker int, txs []*reassembly.Transaction, watermark int64)
	workers []*worker
}

// New returns a Pipeline. After each batch out gets the transactions that the
// worker finished, in any order, and its watermark: its later ones end at it or
// after. Calls for the same worker come one after the other, for different
// workers possibly at the same time; the slice is valid until out returns, the
// transactions belong to it, and reassembly.Release makes the next ones of them.
func New(config Config, out func(worker int, txs []*reassembly.Transaction, watermark int64)) (*Pipeline, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}
	p := &Pipeline{out: out}
	for range config.Workers {
		w, err := newWorker(&config)
		if err != nil {
			return nil, err
		}
		p.workers = append(p.workers, w)
	}
	return p, nil
}

// Handle takes a batch of a worker; it is a capture.Handler.
func (p *Pipeline) Handle(worker int, b capture.Batch) {
	w := p.workers[worker]
	w.batch(b)
	p.out(worker, w.done, b.Clock)
	w.publish()
}

// Close ends the input: what is open is handed over as it stands, with the
// watermark math.MaxInt64. It must not run at the same time as Handle.
func (p *Pipeline) Close() {
	clock := int64(math.MinInt64)
	for _, w := range p.workers {
		clock = max(clock, w.clock)
	}
	for i, w := range p.workers {
		w.close(clock)
		p.out(i, w.done, math.MaxInt64)
		w.publish()
	}
}

// Stats returns the books as of the last batch of each worker. It may be called
// at any time from any goroutine.
func (p *Pipeline) Stats() Stats {
	var sum Stats
	for _, w := range p.workers {
		w.mu.Lock()
		sum.Add(&w.published)
		w.mu.Unlock()
	}
	return sum
}

// worker is what one goroutine owns.
type worker struct {
	config *Config
	shards [capture.Shards]*shard // by the number that packets have
	made   []*shard               // each once
	next   int64                  // no timer of any shard is due before it
	clock  int64                  // of the last batch
	cut    bool                   // the flow at hand is closed because the capture has ended

	reader     *http1.Reader
	frames     *http2.Reader
	records    *tls.Reader
	buffers    buffer.Pool
	plain      inside // of the connection that is being decrypted
	extractor  *content.Extractor
	txs        reassembly.Allocator
	done       []*reassembly.Transaction
	spare      []*exchange
	spareConns []*conn
	ids        idText
	stats      Stats

	mu        sync.Mutex
	published Stats // as of the last batch
}

// shard is one shard's flows and buffers. It consumes what its flows say.
type shard struct {
	*worker
	table   *tcp.Table
	budget  *tcp.Budget
	proxies proxies
	quic    *quic.Tracker // nil before the first datagram of QUIC
}

func newWorker(config *Config) (*worker, error) {
	extractor, err := content.New(config.Content)
	if err != nil {
		return nil, err
	}
	w := &worker{
		config: config, next: math.MaxInt64, clock: math.MinInt64,
		reader: http1.NewReader(config.Content.BodyLimit()), extractor: extractor,
	}
	w.frames = http2.NewReader(config.Content.BodyLimit(), w.reader.Shapes())
	if w.records, err = tls.NewReader(config.TLS); err != nil {
		return nil, err
	}
	if _, err := w.newShard(); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *worker) newShard() (s *shard, err error) {
	s = &shard{worker: w, budget: tcp.NewBudget(w.config.shardBuffer())}
	s.table, err = tcp.New(w.config.TCP, s, s.budget, &w.stats.TCP)
	return s, err
}

// batch takes the packets of a batch, and moves the clock.
func (w *worker) batch(b capture.Batch) {
	clear(w.done)
	w.done = w.done[:0]
	if len(b.Secrets) > 0 {
		w.records.Learn(b.Secrets)
	}
	for i := range b.Packets {
		switch p := &b.Packets[i]; {
		case p.Disposition == capture.DispositionTCP:
			s := w.shard(p.Shard)
			s.table.Packet(p)
			w.next = min(w.next, s.table.Next())
		case p.Disposition == capture.DispositionQUIC && w.config.Hellos:
			w.shard(p.Shard).datagram(p)
		}
	}
	w.advance(b.Clock)
}

// shard returns the shard of packets with a number, made when it is needed first.
func (w *worker) shard(number uint8) *shard {
	s := w.shards[number]
	if s == nil {
		s = w.makeShard(number)
	}
	return s
}

// makeShard makes a shard, for all numbers that come to the same one.
func (w *worker) makeShard(number uint8) *shard {
	s, _ := w.newShard() // the configuration was found valid by New
	w.made = append(w.made, s)
	n := w.config.shards()
	for i := range w.shards {
		if i*n/capture.Shards == int(number)*n/capture.Shards {
			w.shards[i] = s
		}
	}
	return s
}

// advance moves the clock of all shards.
func (w *worker) advance(clock int64) {
	w.clock = max(w.clock, clock)
	if w.next > w.clock {
		return
	}
	w.next = math.MaxInt64
	for _, s := range w.made {
		s.table.Advance(w.clock)
		w.next = min(w.next, s.table.Next())
	}
}

// close ends all flows at the clock of the whole input.
func (w *worker) close(clock int64) {
	clear(w.done)
	w.done = w.done[:0]
	for _, s := range w.made {
		s.table.Advance(clock)
		s.table.Close()
	}
}

// publish makes the books visible to Stats.
func (w *worker) publish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.published = w.stats
	w.published.HTTP = w.reader.Stats
	w.published.HTTP2 = w.frames.Stats
	w.published.TLS = w.records.Stats
}
