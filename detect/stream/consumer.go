package stream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"

	"offpath/reassembly"
	"offpath/reassembly/order"
)

// commitEvery is how often the offsets of what was emitted are committed.
const commitEvery = time.Second

// ConsumerConfig configures a Consumer.
type ConsumerConfig struct {
	Brokers
	Group string // consumer group; empty: DefaultGroup
	// SensorLag is how far, in event time, a sensor may fall behind the
	// foremost one on a partition before the partition goes on without it; it
	// is taken for dead. 0: 30 s.
	SensorLag time.Duration
	// Keep says that offsets are committed only once what was emitted is kept
	// ([Consumer.Kept]): after a crash everything since is read again. Else they
	// are committed when it was emitted.
	Keep bool
	// Assigned, if any, is told which partitions are read from now on, before the
	// first of their transactions are emitted; serially with emit. Generations are
	// numbered from 1.
	Assigned func(generation uint64, partitions []int)
}

// ConsumerStats are a consumer's books: messages received = Transactions +
// Watermarks + Duplicates + Undecodable.
type ConsumerStats struct {
	Transactions uint64
	Watermarks   uint64 // messages that carry a watermark alone
	Known        uint64 // of the transactions, not emitted: they are kept already
	Duplicates   uint64 // messages written more than once by a producer that tried again
	Gaps         uint64 // sequence numbers that a partition lacks
	Undecodable  uint64 // messages that are no transactions
	Late         uint64 // transactions that ended before their partition's watermark
	SensorsLost  uint64 // sensors that fell behind by more than SensorLag
	Generations  uint64 // times that partitions were assigned
	Waiting      int    // transactions held back until their turn
}

// Consumer reads the transactions of all sensors from Kafka and merges them
// into their order.
type Consumer struct {
	cfg ConsumerConfig

	transactions, watermarks, duplicates, gaps, undecodable atomic.Uint64
	late, sensorsLost, generations, skipped                 atomic.Uint64
	kept                                                    atomic.Pointer[kept]
	known                                                   map[int]int64 // by partition: what ends before was emitted, or is kept
	waiting                                                 atomic.Int64
	lastErr                                                 atomic.Pointer[error]
}

// NewConsumer reaches the brokers and creates the topic where it is missing.
func NewConsumer(ctx context.Context, cfg ConsumerConfig) (*Consumer, error) {
	if err := cfg.Brokers.validate(); err != nil {
		return nil, err
	}
	if cfg.Group == "" {
		cfg.Group = DefaultGroup
	}
	if cfg.SensorLag == 0 {
		cfg.SensorLag = 30 * time.Second
	}
	if cfg.SensorLag < 0 {
		return nil, fmt.Errorf("sensor lag %s: must be positive", cfg.SensorLag)
	}
	if _, err := cfg.ensureTopic(ctx); err != nil {
		return nil, err
	}
	return &Consumer{cfg: cfg, known: map[int]int64{}}, nil
}

// Resume says, before Run, up to which event time what each partition held is kept
// by an earlier process: what ends before is not emitted again.
func (c *Consumer) Resume(known map[int]int64) { maps.Copy(c.known, known) }

// Kept says that everything that a generation has emitted up to a watermark is kept:
// its offsets can be committed. It may be called from any goroutine.
func (c *Consumer) Kept(generation uint64, watermark int64) {
	c.kept.Store(&kept{generation, watermark})
}

// kept is how much is kept.
type kept struct {
	generation uint64
	watermark  int64
}

// Run emits transactions until ctx is done. emit is called serially; it fits
// the emit function of reassembly/order. Offsets are committed once their
// transactions were emitted, or kept, so that what a crash interrupts is read
// again. What was emitted once is not emitted again by this Consumer.
func (c *Consumer) Run(ctx context.Context, emit func(txs []*reassembly.Transaction, watermark int64)) error {
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: c.cfg.Group, Brokers: c.cfg.Addresses, Topics: []string{c.cfg.Topic},
		StartOffset: kafka.FirstOffset, WatchPartitionChanges: true, JoinGroupBackoff: time.Second,
	})
	if err != nil {
		return fmt.Errorf("join consumer group %s: %w", c.cfg.Group, err)
	}
	defer group.Close()
	for {
		generation, err := group.Next(ctx)
		if ctx.Err() != nil || errors.Is(err, kafka.ErrGroupClosed) {
			return nil
		}
		if err != nil {
			c.lastErr.Store(&err)
			continue // Next pauses by itself before it joins again
		}
		c.lastErr.Store(nil)
		c.generations.Add(1)
		c.consume(ctx, generation, emit)
	}
}

// Stats may be called from any goroutine.
func (c *Consumer) Stats() ConsumerStats {
	return ConsumerStats{
		Transactions: c.transactions.Load(), Watermarks: c.watermarks.Load(), Duplicates: c.duplicates.Load(),
		Gaps: c.gaps.Load(), Undecodable: c.undecodable.Load(), Late: c.late.Load(),
		Known: c.skipped.Load(), SensorsLost: c.sensorsLost.Load(), Generations: c.generations.Load(), Waiting: int(c.waiting.Load()),
	}
}

// Err returns why the group could not be joined or read, nil while it can.
func (c *Consumer) Err() error {
	if err := c.lastErr.Load(); err != nil {
		return *err
	}
	return nil
}

// consume reads the partitions of one generation until it ends, which is when
// the group is rebalanced or ctx is done.
func (c *Consumer) consume(ctx context.Context, generation *kafka.Generation, emit func([]*reassembly.Transaction, int64)) {
	assigned := generation.Assignments[c.cfg.Topic]
	progress := newOffsets(assigned)
	number, emitted := c.generations.Load(), int64(math.MinInt64)
	merger := order.New(len(assigned), func(txs []*reassembly.Transaction, watermark int64) {
		if emitted == math.MinInt64 && c.cfg.Assigned != nil {
			c.cfg.Assigned(number, ids(assigned))
		}
		emitted = watermark
		emit(txs, watermark)
		progress.emitted(watermark)
		c.waiting.Add(-int64(len(txs)))
	})
	var readers sync.WaitGroup
	ended := make(chan struct{})
	for input, a := range assigned {
		readers.Add(1)
		generation.Start(func(generationCtx context.Context) {
			defer readers.Done()
			readCtx, cancel := context.WithCancel(generationCtx)
			defer cancel()
			defer context.AfterFunc(ctx, cancel)()
			known, any := c.known[a.ID]
			c.read(readCtx, a, newPartition(c), func(tx *reassembly.Transaction, offset, watermark int64) {
				if any && tx != nil && tx.End < known {
					c.skipped.Add(1)
					tx = nil
				}
				progress.received(a.ID, offset, tx)
				if tx == nil {
					merger.Push(input, nil, watermark)
					return
				}
				c.waiting.Add(1)
				merger.Push(input, []*reassembly.Transaction{tx}, watermark)
			})
		})
	}
	generation.Start(func(generationCtx context.Context) {
		defer close(ended)
		tick := time.NewTicker(commitEvery)
		defer tick.Stop()
		for {
			select {
			case <-generationCtx.Done():
			case <-ctx.Done():
			case <-tick.C:
				c.commit(generation, number, progress)
				continue
			}
			readers.Wait()
			c.commit(generation, number, progress)
			return
		}
	})
	<-ended
	c.waiting.Store(0) // what still waits was not committed and is read again
	for _, a := range assigned {
		if before, any := c.known[a.ID]; emitted != math.MinInt64 && (!any || before < emitted) {
			c.known[a.ID] = emitted
		}
	}
}

func ids(assigned []kafka.PartitionAssignment) (list []int) {
	for _, a := range assigned {
		list = append(list, a.ID)
	}
	return list
}

func (c *Consumer) commit(generation *kafka.Generation, number uint64, progress *offsets) {
	next := progress.committable()
	if c.cfg.Keep {
		progress.mark()
		next = nil
		if k := c.kept.Load(); k != nil && k.generation == number {
			next = progress.kept(k.watermark)
		}
	}
	if len(next) == 0 {
		return
	}
	if err := generation.CommitOffsets(map[string]map[int]int64{c.cfg.Topic: next}); err != nil {
		c.lastErr.Store(&err)
		return
	}
	progress.committed(next)
}

// read hands each message of one partition on: its transaction, or nil for a
// bare watermark, and the partition's watermark after it.
func (c *Consumer) read(ctx context.Context, a kafka.PartitionAssignment, p *partition, push func(tx *reassembly.Transaction, offset, watermark int64)) {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: c.cfg.Addresses, Topic: c.cfg.Topic, Partition: a.ID,
		MinBytes: 1, MaxBytes: 8 << 20, MaxWait: 100 * time.Millisecond, QueueCapacity: 1024,
	})
	defer reader.Close()
	if err := reader.SetOffset(a.Offset); err != nil {
		c.lastErr.Store(&err)
		return
	}
	for {
		m, err := reader.FetchMessage(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			c.lastErr.Store(&err)
			continue
		}
		c.lastErr.Store(nil)
		tx, watermark := p.accept(&m)
		push(tx, m.Offset, watermark)
	}
}

// partition is what is known of the sensors that write to one partition.
type partition struct {
	consumer  *Consumer
	sensors   map[string]*sensor
	watermark int64 // of the partition: the lowest of its sensors', never moved back
}

type sensor struct {
	epoch, next int64 // of the sensor's start; the sequence number expected next
	watermark   int64
	final       bool // it has said that it ends
}

func newPartition(c *Consumer) *partition {
	return &partition{consumer: c, sensors: map[string]*sensor{}, watermark: math.MinInt64}
}

// accept returns the message's transaction, nil if it has none that counts,
// and the partition's watermark after it.
func (p *partition) accept(m *kafka.Message) (*reassembly.Transaction, int64) {
	c := p.consumer
	e, err := parseEnvelope(m.Headers)
	if err != nil {
		c.undecodable.Add(1)
		return nil, p.watermark
	}
	s := p.sensors[e.sensor]
	switch {
	case s == nil || e.epoch > s.epoch:
		s = &sensor{epoch: e.epoch, next: e.sequence}
		p.sensors[e.sensor] = s
	case e.epoch < s.epoch, e.sequence < s.next:
		c.duplicates.Add(1)
		return nil, p.watermark
	}
	c.gaps.Add(uint64(e.sequence - s.next))
	s.next = e.sequence + 1
	s.watermark, s.final = max(s.watermark, e.watermark), e.final

	var tx *reassembly.Transaction
	if m.Value == nil {
		c.watermarks.Add(1)
	} else if tx, err = Unmarshal(m.Value); err != nil {
		c.undecodable.Add(1)
	} else {
		c.transactions.Add(1)
		if tx.End < p.watermark {
			c.late.Add(1)
		}
	}
	p.advance()
	return tx, p.watermark
}

// advance moves the watermark to that of the slowest sensor that is alive; to
// that of the foremost where all have ended.
func (p *partition) advance() {
	foremost, lowest := int64(math.MinInt64), int64(math.MaxInt64)
	for _, s := range p.sensors {
		foremost = max(foremost, s.watermark)
	}
	for name, s := range p.sensors {
		switch {
		case s.final:
		case s.watermark < foremost-int64(p.consumer.cfg.SensorLag):
			p.consumer.sensorsLost.Add(1)
			delete(p.sensors, name)
		default:
			lowest = min(lowest, s.watermark)
		}
	}
	p.watermark = max(p.watermark, min(lowest, foremost))
}
