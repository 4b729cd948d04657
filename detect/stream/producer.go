package stream

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"

	"offpath/reassembly"
)

const (
	// One write holds less than a broker's default message.max.bytes
	// (1048588), so that each partition gets one record batch and order
	// survives a retry.
	maxWriteBytes    = 512 << 10
	maxWriteMessages = 1024
	maxMessageBytes  = 500 << 10

	// watermarkEvery is how much event time may pass without a message on a
	// partition.
	watermarkEvery = int64(100 * time.Millisecond)

	retryPause = 250 * time.Millisecond
)

// ProducerConfig configures a Producer.
type ProducerConfig struct {
	Brokers
	Sensor string // name of this sensor, unique among those that write to the topic
	Epoch  int64  // larger at each start of the sensor: its start time in ns serves
	// Queue is the number of transactions that wait at most; 0: 65536. When it
	// is full, further ones are shed and counted, so that capture never waits.
	Queue int
	// Block makes Send wait instead of shedding: for input that is no live
	// traffic.
	Block bool
}

// ProducerStats are a producer's books: transactions sent to it = Written +
// Shed + TooLarge + those still queued.
type ProducerStats struct {
	Written    uint64 // transactions acknowledged by the brokers
	Watermarks uint64 // bare watermarks acknowledged
	Shed       uint64 // transactions dropped because the queue was full or the producer stopped
	TooLarge   uint64 // transactions whose message exceeds 500 KiB
	Retries    uint64 // writes that failed and were tried again
	Queued     int
}

// Producer writes a sensor's transactions to Kafka.
type Producer struct {
	cfg        ProducerConfig
	writer     *kafka.Writer
	partitions []int // 0 to n-1

	mu     sync.Mutex
	ready  *sync.Cond // signalled when the queue or closed changes
	queue  []chunk
	queued int
	closed bool

	sequence  []int64 // next, per partition
	watermark []int64 // last written, per partition
	clock     int64   // nothing that was sent or will be ends before it

	written, watermarks, shed, tooLarge, retries atomic.Uint64
	lastErr                                      atomic.Pointer[error]
}

// chunk is what one Send brought: in order, all ending before watermark.
type chunk struct {
	txs       []*reassembly.Transaction
	watermark int64
}

// NewProducer reaches the brokers and creates the topic where it is missing.
func NewProducer(ctx context.Context, cfg ProducerConfig) (*Producer, error) {
	if err := cfg.Brokers.validate(); err != nil {
		return nil, err
	}
	if cfg.Sensor == "" {
		return nil, errors.New("the sensor's name is empty")
	}
	if cfg.Queue == 0 {
		cfg.Queue = 65536
	}
	if cfg.Queue < 0 {
		return nil, fmt.Errorf("queue of %d transactions: must be positive", cfg.Queue)
	}
	n, err := cfg.ensureTopic(ctx)
	if err != nil {
		return nil, err
	}
	p := &Producer{
		cfg:      cfg,
		sequence: make([]int64, n), watermark: make([]int64, n),
		writer: &kafka.Writer{
			Addr: kafka.TCP(cfg.Addresses...), Topic: cfg.Topic, Balancer: placed{},
			BatchSize: 2 * maxWriteMessages, BatchBytes: 2 * maxWriteBytes, BatchTimeout: time.Millisecond,
			RequiredAcks: kafka.RequireAll, MaxAttempts: 1,
		},
	}
	for i := range n {
		p.partitions = append(p.partitions, i)
	}
	p.ready = sync.NewCond(&p.mu)
	return p, nil
}

// Send queues txs, which come in their order and, like all that came before,
// end before watermark. It keeps txs. It fits the emit function of
// reassembly/order.
func (p *Producer) Send(txs []*reassembly.Transaction, watermark int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.cfg.Block && !p.closed && p.queued > 0 && p.queued+len(txs) > p.cfg.Queue {
		p.ready.Wait()
	}
	if p.closed || p.queued > 0 && p.queued+len(txs) > p.cfg.Queue {
		p.shed.Add(uint64(len(txs)))
		return
	}
	p.queued += len(txs)
	p.queue = append(p.queue, chunk{txs, watermark})
	p.ready.Broadcast()
}

// Run writes what Send queues, in order, until Close was called and the queue
// is empty, or ctx is done: then what is queued is shed. Brokers that fail are
// tried again for as long as that.
func (p *Producer) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, p.Close)
	defer stop()
	defer p.writer.Close()
	for {
		chunks, open := p.take()
		for _, c := range chunks {
			if err := p.write(ctx, c); err != nil {
				p.drop(chunks)
				return err
			}
		}
		if !open {
			return p.farewell(ctx)
		}
	}
}

// Close ends the input; Run writes what is queued and returns.
func (p *Producer) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.ready.Broadcast()
}

// Stats may be called from any goroutine.
func (p *Producer) Stats() ProducerStats {
	p.mu.Lock()
	queued := p.queued
	p.mu.Unlock()
	return ProducerStats{
		Written: p.written.Load(), Watermarks: p.watermarks.Load(), Shed: p.shed.Load(),
		TooLarge: p.tooLarge.Load(), Retries: p.retries.Load(), Queued: queued,
	}
}

// Err returns why the last write failed, nil once one has succeeded since.
func (p *Producer) Err() error {
	if err := p.lastErr.Load(); err != nil {
		return *err
	}
	return nil
}

// take waits for input; open is false once there will be no more.
func (p *Producer) take() (chunks []chunk, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) == 0 && !p.closed {
		p.ready.Wait()
	}
	chunks, p.queue, p.queued = p.queue, nil, 0
	p.ready.Broadcast()
	return chunks, !p.closed || len(chunks) > 0
}

func (p *Producer) drop(chunks []chunk) {
	total := 0
	for _, c := range chunks {
		total += len(c.txs)
	}
	p.mu.Lock()
	total += p.queued
	p.queue, p.queued = nil, 0
	p.mu.Unlock()
	// What of the chunks was acknowledged before the failure is counted as
	// both: a loss is rather stated too large.
	p.shed.Add(uint64(total))
}

// write writes one chunk and the watermarks that are due after it.
func (p *Producer) write(ctx context.Context, c chunk) error {
	var messages []kafka.Message
	size := 0
	flush := func() error {
		err := p.deliver(ctx, messages)
		messages, size = messages[:0], 0
		return err
	}
	for _, tx := range c.txs {
		value, err := Marshal(tx)
		if err != nil || len(value) > maxMessageBytes {
			p.tooLarge.Add(1)
			continue
		}
		if len(messages) == maxWriteMessages || size+len(value) > maxWriteBytes {
			if err := flush(); err != nil {
				return err
			}
		}
		key := []byte(tx.Client.String())
		partition := kafka.Murmur2Balancer{}.Balance(kafka.Message{Key: key}, p.partitions...)
		messages = append(messages, p.message(partition, content{key: key, value: value, watermark: tx.End}))
		size += len(value)
	}
	switch {
	case c.watermark != math.MaxInt64:
		p.clock = max(p.clock, c.watermark)
	case len(c.txs) > 0:
		p.clock = max(p.clock, c.txs[len(c.txs)-1].End+1)
	}
	for _, partition := range p.partitions {
		if p.clock-p.watermark[partition] >= watermarkEvery {
			messages = append(messages, p.message(partition, p.bare(false)))
		}
	}
	return flush()
}

// farewell tells every partition that the sensor ends, so that nothing waits
// for it.
func (p *Producer) farewell(ctx context.Context) error {
	var messages []kafka.Message
	for _, partition := range p.partitions {
		messages = append(messages, p.message(partition, p.bare(true)))
	}
	return p.deliver(ctx, messages)
}

// content is what a message is made of, its place aside.
type content struct {
	key, value []byte
	watermark  int64
	final      bool
}

// bare is a watermark without a transaction.
func (p *Producer) bare(final bool) content {
	return content{key: []byte(p.cfg.Sensor), watermark: p.clock, final: final}
}

func (p *Producer) message(partition int, c content) kafka.Message {
	e := envelope{
		sensor: p.cfg.Sensor, epoch: p.cfg.Epoch, sequence: p.sequence[partition],
		watermark: c.watermark, final: c.final,
	}
	p.sequence[partition]++
	p.watermark[partition] = c.watermark
	return kafka.Message{Key: c.key, Value: c.value, Headers: e.headers(), WriterData: place(partition)}
}

// deliver writes messages until the brokers have acknowledged every one of
// them. Those that are written twice by it are known by their sequence number.
func (p *Producer) deliver(ctx context.Context, messages []kafka.Message) error {
	for len(messages) > 0 {
		err := p.writer.WriteMessages(ctx, messages...)
		if err == nil {
			p.lastErr.Store(nil)
			p.acknowledged(messages)
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("write to Kafka: %w", ctx.Err())
		}
		p.lastErr.Store(&err)
		p.retries.Add(1)
		var each kafka.WriteErrors
		if errors.As(err, &each) && len(each) == len(messages) {
			var done, failed []kafka.Message
			for i, err := range each {
				if err == nil {
					done = append(done, messages[i])
				} else {
					failed = append(failed, messages[i])
				}
			}
			p.acknowledged(done)
			messages = failed
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("write to Kafka: %w", ctx.Err())
		case <-time.After(retryPause):
		}
	}
	return nil
}

func (p *Producer) acknowledged(messages []kafka.Message) {
	for _, m := range messages {
		if m.Value == nil {
			p.watermarks.Add(1)
		} else {
			p.written.Add(1)
		}
	}
}
