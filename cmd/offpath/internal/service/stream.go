package service

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"offpath/cmd/offpath/internal/config"
	"offpath/cmd/offpath/internal/detection"
	"offpath/detect"
	"offpath/detect/engine"
	"offpath/detect/stream"
)

const (
	// connectTimeout bounds the first contact with Kafka.
	connectTimeout = 30 * time.Second
	// flushTimeout bounds, at the end, the writing of what is queued for
	// Kafka.
	flushTimeout = 5 * time.Second
)

func brokers(c *config.Config, topic string) stream.Brokers {
	return stream.Brokers{Addresses: c.Stream.Brokers, Topic: topic}
}

// runUntilFlushed runs a writer to Kafka until ctx is done; then close ends its
// input and it has flushTimeout for the rest.
func runUntilFlushed(ctx context.Context, run func(context.Context) error, closeInput func()) error {
	working, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- run(working) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	closeInput()
	timer := time.AfterFunc(flushTimeout, cancel)
	defer timer.Stop()
	return <-done
}

// producerPart writes transactions to Kafka.
type producerPart struct{ producer *stream.Producer }

func newProducer(ctx context.Context, p *process) (*producerPart, error) {
	c := p.options.Config
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("name of this sensor: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	producer, err := stream.NewProducer(ctx, stream.ProducerConfig{
		Brokers: brokers(c, c.Stream.TransactionsTopic),
		Sensor:  host + "/" + strings.Join(c.Capture.Interfaces, "+"),
		Epoch:   time.Now().UnixNano(),
	})
	if err != nil {
		return nil, fmt.Errorf("connect to Kafka: %w", err)
	}
	p.books.Producer = producer.Stats
	return &producerPart{producer}, nil
}

func (part *producerPart) run(ctx context.Context) error {
	return runUntilFlushed(ctx, part.producer.Run, part.producer.Close)
}

func (part *producerPart) problems() []string {
	return kafkaProblem("transactions", part.producer.Err())
}

func (part *producerPart) reload(*config.Config) {}

func kafkaProblem(what string, err error) []string {
	if err == nil {
		return nil
	}
	return []string{fmt.Sprintf("Kafka does not take or give %s: %v", what, err)}
}

// consumerPart reads transactions from Kafka.
type consumerPart struct {
	consumer *stream.Consumer
	stage    *detection.Stage
	keeper   *keeper
}

func newConsumer(ctx context.Context, p *process) (*consumerPart, error) {
	c := p.options.Config
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	part := new(consumerPart)
	consumer, err := stream.NewConsumer(ctx, stream.ConsumerConfig{
		Brokers: brokers(c, c.Stream.TransactionsTopic), Group: c.Stream.Group,
		Keep: true, Assigned: part.assigned,
	})
	if err != nil {
		return nil, fmt.Errorf("connect to Kafka: %w", err)
	}
	p.books.Consumer = consumer.Stats
	part.consumer = consumer
	return part, nil
}

// feed has detection fed. Offsets are committed once the state that holds what was
// read is written; what was read since is read again after a crash, and leads to the
// same lines; what the state holds already is not fed again.
func (part *consumerPart) feed(d *detectionPart) {
	part.stage, part.keeper = d.stage, d.keeper
	part.consumer.Resume(d.keeper.covered)
	d.keeper.kept = part.consumer.Kept
}

func (part *consumerPart) assigned(generation uint64, partitions []int) {
	part.stage.Post(func(*engine.Engine) { part.keeper.assigned(generation, partitions) })
}

func (part *consumerPart) run(ctx context.Context) error {
	return part.consumer.Run(ctx, part.stage.Put)
}

func (part *consumerPart) problems() []string {
	return kafkaProblem("transactions", part.consumer.Err())
}

func (part *consumerPart) reload(*config.Config) {}

// publisherPart writes verdicts to Kafka.
type publisherPart struct{ writer *stream.VerdictWriter }

func newPublisher(ctx context.Context, p *process) (*publisherPart, error) {
	c := p.options.Config
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	writer, err := stream.NewVerdictWriter(ctx, stream.VerdictsConfig{Brokers: brokers(c, c.Stream.VerdictsTopic)})
	if err != nil {
		return nil, fmt.Errorf("connect to Kafka: %w", err)
	}
	p.books.Published = writer.Stats
	return &publisherPart{writer}, nil
}

// written publishes the line of a verdict.
func (part *publisherPart) written(v *detect.Verdict, line []byte) { part.writer.Send(v.ID, line) }

func (part *publisherPart) run(ctx context.Context) error {
	return runUntilFlushed(ctx, part.writer.Run, part.writer.Close)
}

func (part *publisherPart) problems() []string { return kafkaProblem("verdicts", part.writer.Err()) }

func (part *publisherPart) reload(*config.Config) {}
