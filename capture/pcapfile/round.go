package pcapfile

import (
	"sync/atomic"

	"offpath/capture"
)

const (
	// roundSize is the length of a round's buffer, in octets. Buffer and
	// packets of one round fit into a core's second-level cache: packets are
	// read while they are warm.
	roundSize = 128 << 10
	// roundsInFlight is how many rounds there are, with more than one worker:
	// reading is ahead of the slowest worker by fewer. Together they take a few
	// MiB.
	roundsInFlight = 8
)

// round is what is handed to the workers at once: packets, and the buffer that
// they are views into.
type round struct {
	buf     []byte
	packets [][]capture.Packet // by worker
	clock   int64
	secrets []byte // key log that was read before the packets
	// Packets point to memory outside buf: datagrams put together.
	datagrams bool
	users     atomic.Int32 // workers that have not returned yet
}

func newRound(workers int) *round {
	return &round{buf: make([]byte, 0, roundSize), packets: make([][]capture.Packet, workers)}
}

// reset makes the round empty. Buffers that one long record has made large
// are not kept, nor are datagrams.
func (r *round) reset() {
	r.secrets = nil
	for i := range r.packets {
		if r.datagrams {
			clear(r.packets[i])
		}
		r.packets[i] = r.packets[i][:0]
	}
	if cap(r.buf) > 4*roundSize {
		r.buf = make([]byte, 0, roundSize)
	}
}

// batch is what a worker gets of the round.
func (r *round) batch(worker int) capture.Batch {
	return capture.Batch{Packets: r.packets[worker], Clock: r.clock, Secrets: r.secrets}
}
