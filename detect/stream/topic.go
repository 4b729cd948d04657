package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/segmentio/kafka-go"
)

// Brokers names a Kafka cluster and a topic in it.
type Brokers struct {
	Addresses  []string // bootstrap addresses, host:port
	Topic      string
	Partitions int // of the topic, if it has to be created; 0: DefaultPartitions
	Replicas   int // likewise; 0: the broker's default
}

func (b *Brokers) validate() error {
	if len(b.Addresses) == 0 {
		return errors.New("stream.brokers is empty: name at least one Kafka broker as host:port")
	}
	if b.Topic == "" {
		return errors.New("the topic's name is empty")
	}
	if b.Partitions < 0 || b.Replicas < 0 {
		return fmt.Errorf("partitions %d and replicas %d must not be negative", b.Partitions, b.Replicas)
	}
	return nil
}

func (b *Brokers) client() *kafka.Client { return &kafka.Client{Addr: kafka.TCP(b.Addresses...)} }

// ensureTopic creates the topic where it does not exist, with the given broker
// settings, and returns its number of partitions.
func (b *Brokers) ensureTopic(ctx context.Context, settings ...kafka.ConfigEntry) (int, error) {
	client := b.client()
	n, err := b.partitions(ctx, client)
	if err != nil || n > 0 {
		return n, err
	}
	topic := kafka.TopicConfig{Topic: b.Topic, NumPartitions: b.Partitions, ReplicationFactor: b.Replicas, ConfigEntries: settings}
	if topic.NumPartitions == 0 {
		topic.NumPartitions = DefaultPartitions
	}
	if topic.ReplicationFactor == 0 {
		topic.ReplicationFactor = -1
	}
	res, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{topic}})
	if err != nil {
		return 0, fmt.Errorf("create topic %s: %w", b.Topic, err)
	}
	if err := res.Errors[b.Topic]; err != nil && !errors.Is(err, kafka.TopicAlreadyExists) {
		return 0, fmt.Errorf("create topic %s: %w", b.Topic, err)
	}
	// The broker that answers knows its new topic only once the controller's
	// record has reached it.
	for ctx.Err() == nil {
		if n, err = b.partitions(ctx, client); err != nil || n > 0 {
			return n, err
		}
	}
	return 0, fmt.Errorf("create topic %s: %w", b.Topic, ctx.Err())
}

// partitions returns 0 where the topic does not exist.
func (b *Brokers) partitions(ctx context.Context, client *kafka.Client) (int, error) {
	meta, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{b.Topic}})
	if err != nil {
		return 0, fmt.Errorf("reach Kafka at %s: %w", strings.Join(b.Addresses, ","), err)
	}
	for _, t := range meta.Topics {
		if t.Name != b.Topic {
			continue
		}
		if t.Error == nil {
			return len(t.Partitions), nil
		}
		if errors.Is(t.Error, kafka.UnknownTopicOrPartition) || errors.Is(t.Error, kafka.LeaderNotAvailable) {
			return 0, nil
		}
		return 0, fmt.Errorf("topic %s: %w", b.Topic, t.Error)
	}
	return 0, nil
}

// place is the partition that a message was assigned to before it was handed
// to the writer.
type place int

// placed is the kafka.Balancer that puts each message in its place.
type placed struct{}

// Balance implements kafka.Balancer.
func (placed) Balance(m kafka.Message, _ ...int) int { return int(m.WriterData.(place)) }
