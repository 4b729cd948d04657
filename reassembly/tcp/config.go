package tcp

import (
	"fmt"
	"time"
)

// Config bounds a Table. A field that is 0 takes its default.
type Config struct {
	// MaxFlows is the number of flows of the shard, 16 or more; beyond it the
	// least valuable one is evicted: closed, then half open, then idle longest.
	// Default 4096.
	MaxFlows int
	// FlowBuffer is how many octets one flow may hold out of order, each
	// segment counted with SegmentOverhead. Default 1 MiB.
	FlowBuffer int

	// Hold is the event time that acknowledged octets are waited for, that a
	// reset lies idle, that one direction waits for the other, and that the
	// first segment of a connection joined in the middle waits for earlier ones.
	// Default 250 ms.
	Hold time.Duration
	// HoldPackets is the number of packets of the flow after which Hold is over
	// too. Default 128.
	HoldPackets int
	// HoldOneWay is Hold where the other direction was never seen. Default 2 s.
	HoldOneWay time.Duration

	// HalfOpen is how long a connection without data lives. Default 30 s.
	HalfOpen time.Duration
	// Idle is how long a connection lives without a packet. Default 10 min.
	Idle time.Duration
	// Linger is how long a closed connection is remembered, so that stragglers
	// don't look like a new one. Default 3 s.
	Linger time.Duration
}

// SegmentOverhead is what a buffered segment is charged beside its octets.
const SegmentOverhead = 96

// refresh is how stale, in event time, a flow's place in the order of idleness
// may be: a flow moves at most once in it. Timeouts run early by at most that.
const refresh = int64(time.Second)

// window is the distance within which sequence numbers belong to the same
// connection.
const window = 1 << 20

func (c Config) withDefaults() Config {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	after := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	set(&c.MaxFlows, 4096)
	set(&c.FlowBuffer, 1<<20)
	set(&c.HoldPackets, 128)
	after(&c.Hold, 250*time.Millisecond)
	after(&c.HoldOneWay, 2*time.Second)
	after(&c.HalfOpen, 30*time.Second)
	after(&c.Idle, 10*time.Minute)
	after(&c.Linger, 3*time.Second)
	return c
}

func (c *Config) validate() error {
	switch {
	case c.MaxFlows < 16:
		return fmt.Errorf("tcp: %d flows a shard: at least 16 are needed", c.MaxFlows)
	case c.FlowBuffer < 64<<10:
		return fmt.Errorf("tcp: buffer of %d octets a flow: at least 64 KiB are needed", c.FlowBuffer)
	case c.HoldPackets < 1:
		return fmt.Errorf("tcp: hold of %d packets: at least 1 is needed", c.HoldPackets)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
		least time.Duration
	}{
		{"hold", c.Hold, time.Millisecond},
		{"one-way hold", c.HoldOneWay, time.Millisecond},
		{"half-open timeout", c.HalfOpen, 2 * time.Second},
		{"idle timeout", c.Idle, 2 * time.Second},
		{"linger time", c.Linger, time.Millisecond},
	} {
		if d.value < d.least {
			return fmt.Errorf("tcp: %s of %v: at least %v is needed", d.name, d.value, d.least)
		}
	}
	return nil
}
