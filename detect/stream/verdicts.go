package stream

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
)

// VerdictsConfig configures a VerdictWriter.
type VerdictsConfig struct {
	Brokers
	Queue int // lines that wait at most, further ones are shed; 0: 8192
}

// VerdictStats are a VerdictWriter's books.
type VerdictStats struct {
	Written, Shed, Retries uint64
}

// VerdictWriter writes verdicts to a compacted topic: the last line of each
// verdict id remains.
type VerdictWriter struct {
	writer *kafka.Writer
	queue  chan kafka.Message

	written, shed, retries atomic.Uint64
	lastErr                atomic.Pointer[error]
}

// NewVerdictWriter reaches the brokers and creates the topic, compacted, where
// it is missing.
func NewVerdictWriter(ctx context.Context, cfg VerdictsConfig) (*VerdictWriter, error) {
	if err := cfg.Brokers.validate(); err != nil {
		return nil, err
	}
	if cfg.Queue == 0 {
		cfg.Queue = 8192
	}
	if cfg.Queue < 0 {
		return nil, fmt.Errorf("queue of %d verdicts: must be positive", cfg.Queue)
	}
	if _, err := cfg.ensureTopic(ctx, kafka.ConfigEntry{ConfigName: "cleanup.policy", ConfigValue: "compact"}); err != nil {
		return nil, err
	}
	return &VerdictWriter{
		queue: make(chan kafka.Message, cfg.Queue),
		writer: &kafka.Writer{
			Addr: kafka.TCP(cfg.Addresses...), Topic: cfg.Topic, Balancer: kafka.Murmur2Balancer{},
			BatchTimeout: time.Millisecond, RequiredAcks: kafka.RequireAll, MaxAttempts: 1,
		},
	}, nil
}

// Send queues one verdict: its id and its JSON line, of which the newline is
// left out. It never blocks. It must not be called after Close.
func (w *VerdictWriter) Send(id string, line []byte) {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	select {
	case w.queue <- kafka.Message{Key: []byte(id), Value: append([]byte(nil), line...)}:
	default:
		w.shed.Add(1)
	}
}

// Run writes what Send queues, in order, until Close was called and the queue
// is empty, or ctx is done.
func (w *VerdictWriter) Run(ctx context.Context) error {
	defer w.writer.Close()
	for {
		select {
		case <-ctx.Done():
			return w.abandon(ctx)
		case m, open := <-w.queue:
			if !open {
				return nil
			}
			if err := w.deliver(ctx, m); err != nil {
				return err
			}
		}
	}
}

// Close ends the input; Run writes what is queued and returns.
func (w *VerdictWriter) Close() { close(w.queue) }

// Stats may be called from any goroutine.
func (w *VerdictWriter) Stats() VerdictStats {
	return VerdictStats{Written: w.written.Load(), Shed: w.shed.Load(), Retries: w.retries.Load()}
}

// Err returns why the last write failed, nil once one has succeeded since.
func (w *VerdictWriter) Err() error {
	if err := w.lastErr.Load(); err != nil {
		return *err
	}
	return nil
}

func (w *VerdictWriter) deliver(ctx context.Context, m kafka.Message) error {
	for {
		err := w.writer.WriteMessages(ctx, m)
		if err == nil {
			w.lastErr.Store(nil)
			w.written.Add(1)
			return nil
		}
		var tooLarge kafka.MessageTooLargeError
		if errors.As(err, &tooLarge) {
			w.shed.Add(1)
			return nil
		}
		if ctx.Err() != nil {
			w.shed.Add(1)
			return w.abandon(ctx)
		}
		w.lastErr.Store(&err)
		w.retries.Add(1)
		select {
		case <-ctx.Done():
		case <-time.After(retryPause):
		}
	}
}

func (w *VerdictWriter) abandon(ctx context.Context) error {
	w.shed.Add(uint64(len(w.queue)))
	return fmt.Errorf("write verdicts to Kafka: %w", ctx.Err())
}
