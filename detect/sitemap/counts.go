package sitemap

import (
	"cmp"
	"slices"
	"strings"

	"offpath/detect/internal/snapshot"
)

const (
	maxKept = 16  // different keys of Counts; former names that an endpoint lists
	maxText = 255 // octets of a key: a media type has no more (RFC 6838 section 4.2)
)

// Counts are how often each of a few things was seen, in the order in which they
// came: so few that looking through them costs less than a map. What comes when there
// are 16 is not counted, nor is a text of more than 255 octets.
type Counts[K cmp.Ordered] []Counted[K]

// Counted is one of them.
type Counted[K cmp.Ordered] struct {
	Key K
	N   uint64
}

// Of is how often one was seen.
func (c Counts[K]) Of(key K) uint64 {
	for i := range c {
		if c[i].Key == key {
			return c[i].N
		}
	}
	return 0
}

// Sorted is the same in the order of the keys.
func (c Counts[K]) Sorted() Counts[K] {
	return slices.SortedFunc(slices.Values(c), func(a, b Counted[K]) int { return cmp.Compare(a.Key, b.Key) })
}

// add counts a key n times. One that is new is made by own, so that no text keeps the
// transaction that it was part of.
func (c *Counts[K]) add(key K, n uint64, own func(K) (kept K, ok bool)) {
	for i := range *c {
		if at := &(*c)[i]; at.Key == key {
			at.N += n
			return
		}
	}
	if len(*c) >= maxKept {
		return
	}
	if kept, ok := own(key); ok {
		*c = append(*c, Counted[K]{kept, n})
	}
}

func number(n int) (int, bool) { return n, true }

func text(s string) (string, bool) { return strings.Clone(s), len(s) <= maxText }

// merge adds what others were counted, in the order of their keys, since there may
// not be room for all.
func merge[K cmp.Ordered](to *Counts[K], from Counts[K]) {
	for _, of := range from.Sorted() {
		to.add(of.Key, of.N, func(key K) (K, bool) { return key, true })
	}
}

// state codes the counts, each key by a function of its own.
func (c *Counts[K]) state(s *snapshot.Codec, key func(*K)) {
	snapshot.List(s, (*[]Counted[K])(c), maxKept, func(of *Counted[K]) {
		key(&of.Key)
		snapshot.Uint(s, &of.N)
	})
}
