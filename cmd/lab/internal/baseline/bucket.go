package baseline

import (
	"net/netip"
	"time"

	"offpath/cmd/lab/internal/traffic"
	"offpath/detect"
	"offpath/detect/engine"
	"offpath/reassembly"
)

// Of crowdsecurity/http-generic-bf, and the default length of a decision.
const (
	bucketCapacity = 5
	bucketLeak     = 10 * time.Second // per event
	bucketBan      = 4 * time.Hour
)

// Bucket is a leaky bucket of failures per address: the failure that it can't
// hold bans the address.
type Bucket struct {
	decisions
	levels map[netip.Addr]level
}

type level struct {
	at   int64
	fill float64
}

// NewBucket makes a Bucket.
func NewBucket(sink engine.Sink) *Bucket {
	return &Bucket{newDecisions(sink, "leaky bucket"), make(map[netip.Addr]level)}
}

// Observe implements judge.Detector.
func (b *Bucket) Observe(tx *reassembly.Transaction, truth traffic.Truth) {
	if !failure(tx, truth) {
		return
	}
	l := b.levels[tx.Client]
	leaked := float64(tx.End-l.at) / float64(bucketLeak)
	l = level{tx.End, max(l.fill-leaked, 0) + 1}
	if l.fill > bucketCapacity {
		l.fill = 0
		b.decide(tx, address(tx), detect.ActionBlock, bucketBan)
	}
	b.levels[tx.Client] = l
}
