package content

import (
	"bytes"
	"hash/maphash"
)

// Sizes of the tokenTable, per worker: at most tokenSets * tokenWays *
// maxCached octets, 8 MiB.
const (
	tokenSets = 1 << 10
	tokenWays = 4
	maxCached = 2 << 10
)

// tokenTable holds the keyed hashes of tokens that were seen more than once, so
// that one that is repeated from request to request is not hashed again. It has
// tokenWays places for the tokens of each set; a token that misses twice in a
// row there takes the next of them.
type tokenTable struct {
	seed maphash.Seed
	sets []tokenSet
}

type tokenSet struct {
	tags   [tokenWays]uint64 // hashes of the tokens held
	missed uint64            // hash of the last token that missed
	next   uint8             // place that is taken next
	tokens [tokenWays]token
}

type token struct {
	kind   Kind
	octets []byte
	keyed  uint64
	list   []string // the keyed hash in hex, as the only element
}

func newTokenTable() tokenTable {
	return tokenTable{seed: maphash.MakeSeed(), sets: make([]tokenSet, tokenSets)}
}

// find returns the token of that kind and octets, or nil, and the set and tag
// under which it is to be found.
func (t *tokenTable) find(k Kind, octets []byte) (found *token, set *tokenSet, tag uint64) {
	tag = maphash.Bytes(t.seed, octets) + uint64(k)
	set = &t.sets[tag%tokenSets]
	for i := range set.tags {
		if set.tags[i] == tag && set.tokens[i].kind == k && bytes.Equal(set.tokens[i].octets, octets) {
			return &set.tokens[i], set, tag
		}
	}
	return nil, set, tag
}

// miss notes that the table doesn't hold a token, and takes it in if it missed
// before.
func (s *tokenSet) miss(tag uint64, k Kind, octets []byte, keyed uint64) {
	if s.missed == tag {
		i := s.next % tokenWays
		s.tags[i] = tag
		s.tokens[i] = token{k, append(s.tokens[i].octets[:0], octets...), keyed, []string{string(appendHex(nil, keyed))}}
		s.next++
	}
	s.missed = tag
}
