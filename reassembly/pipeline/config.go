package pipeline

import (
	"fmt"

	"offpath/capture"
	"offpath/reassembly/content"
	"offpath/reassembly/tcp"
	"offpath/reassembly/tls"
)

// Config is what a Pipeline needs to know. Fields that are 0 take their
// default, but for Content.
type Config struct {
	// Workers is the number of workers, 1 to 256. Default 1.
	Workers int
	// Memory is the octets that flows and buffers may take together, 32 MiB or
	// more: half of it for buffers, the other half for flows at FlowSize each.
	// Default 1 GiB.
	Memory int64
	// Divided says that the flows of every shard are divided over the workers, as
	// the kernel does it in live capture; else each shard belongs to one worker, that
	// of number shard % Workers. If so, each worker has its part of Memory, and what
	// is shed depends on the number of workers.
	Divided bool
	// Content says what is taken from messages.
	Content content.Config
	// Hellos makes every ClientHello a Transaction of its own, with Event set.
	Hellos bool
	// Sockets does the same with every WebSocket at its end.
	Sockets bool
	// TLS says what to decrypt with.
	TLS tls.Config
	// TCP holds timeouts and limits per flow; its MaxFlows is derived from
	// Memory unless it is set.
	TCP tcp.Config
}

// FlowSize is what an idle HTTP connection is charged, octets.
const FlowSize = 1024

const (
	defaultMemory = 1 << 30
	minMemory     = 32 << 20
)

func (c Config) withDefaults() Config {
	if c.Workers == 0 {
		c.Workers = 1
	}
	if c.Memory == 0 {
		c.Memory = defaultMemory
	}
	if c.TCP.MaxFlows == 0 {
		c.TCP.MaxFlows = int(c.Memory / 2 / FlowSize / capture.Shards)
	}
	return c
}

// shards is how many shards with memory of their own a worker has at most.
func (c *Config) shards() int {
	if c.Divided {
		return capture.Shards / c.Workers
	}
	return capture.Shards
}

// shardBuffer is how many octets of buffers a shard has.
func (c *Config) shardBuffer() int { return int(c.Memory / 2 / capture.Shards) }

func (c *Config) validate() error {
	switch {
	case c.Workers < 1 || c.Workers > capture.Shards:
		return fmt.Errorf("pipeline: %d workers: 1 to %d are possible", c.Workers, capture.Shards)
	case c.Memory < minMemory:
		return fmt.Errorf("pipeline: memory of %d octets: at least %d are needed", c.Memory, minMemory)
	}
	return nil
}
