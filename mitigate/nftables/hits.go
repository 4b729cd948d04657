package nftables

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"offpath/mitigate"
	"offpath/mitigate/nftables/internal/netfilter"
)

// readShare bounds what it costs to read all elements, where their counters are, too: as
// many times as long as it took passes before it is done again.
const readShare = 20

// counting follows the counters, which count whatever is done about a packet.
type counting struct {
	refusing atomic.Bool // by the mode as last known

	mu   sync.Mutex
	next time.Time
	of   map[mitigate.ID]*count
}

type count struct {
	last uint64 // as it was read
	hits mitigate.Hits
}

// Hits implements [mitigate.Target]: packets of connections that were refused, or let
// through.
func (t *Target) Hits(ctx context.Context) (hits []mitigate.Hits, err error) {
	c := &t.counting
	c.mu.Lock()
	defer c.mu.Unlock()
	began := time.Now()
	if began.Before(c.next) {
		return nil, nil
	}
	t.mu.Lock()
	places := slices.SortedFunc(maps.Keys(t.places), compare)
	t.mu.Unlock()
	seen := map[mitigate.ID]bool{}
	err = t.with(ctx, func(conn *netfilter.Conn) error {
		for _, at := range places {
			list, err := conn.Elements(table, at.String())
			if errors.Is(err, unix.ENOENT) {
				continue // somebody has deleted it
			}
			if err != nil {
				return err
			}
			for i := range list {
				if id, err := mitigate.ParseID(list[i].Comment); err == nil && list[i].Packets > 0 {
					seen[id] = true
					c.add(id, list[i].Packets, at.watch)
				}
			}
		}
		return nil
	})
	c.next = time.Now().Add(readShare * time.Since(began))
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(c.of, func(id mitigate.ID, _ *count) bool { return !seen[id] })
	for _, n := range c.of {
		hits = append(hits, n.hits)
	}
	slices.SortFunc(hits, func(a, b mitigate.Hits) int { return cmp.Compare(a.ID, b.ID) })
	return hits, nil
}

// add counts what a counter shows beyond the last time; one that is smaller began anew.
func (c *counting) add(id mitigate.ID, packets uint64, watch bool) {
	n := c.of[id]
	if n == nil {
		if c.of == nil {
			c.of = map[mitigate.ID]*count{}
		}
		n = &count{hits: mitigate.Hits{ID: id}}
		c.of[id] = n
	}
	more := packets
	if packets >= n.last {
		more -= n.last
	}
	n.last = packets
	if watch || !c.refusing.Load() {
		n.hits.Passed += more
	} else {
		n.hits.Refused += more
	}
}
