package content

import "hash/maphash"

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
// row there takes one of them: its own if that is empty, else the next in turn.
type tokenTable struct {
	seed   maphash.Seed
	tokens []token // those of a set stand together
	missed []missed
}

// token is 64 octets, a cache line.
type token struct {
	tag    uint64 // hash of the token
	keyed  uint64
	octets string
	list   []string // the keyed hash in hex, as the only element
	kind   Kind
}

// missed says what was not found in a set.
type missed struct {
	tag  uint64 // the last
	next uint8  // place that is taken next
}

func newTokenTable() tokenTable {
	return tokenTable{maphash.MakeSeed(), make([]token, tokenSets*tokenWays), make([]missed, tokenSets)}
}

// find returns the token of that kind and octets, or nil, and the tag under which
// it is to be found.
func (t *tokenTable) find(k Kind, octets []byte) (found *token, tag uint64) {
	tag = maphash.Bytes(t.seed, octets) + uint64(k)
	set, own := t.set(tag)
	for i := range uint64(tokenWays) {
		token := &set[(own+i)%tokenWays]
		if token.tag == tag && token.kind == k && token.octets == string(octets) {
			return token, tag
		}
	}
	return nil, tag
}

// set returns the places for a token and which is its own.
func (t *tokenTable) set(tag uint64) (set *[tokenWays]token, own uint64) {
	return (*[tokenWays]token)(t.tokens[tag%tokenSets*tokenWays:]), tag / tokenSets
}

// miss notes that the table doesn't hold a token, and takes it in if it missed
// before.
func (t *tokenTable) miss(tag uint64, k Kind, octets []byte, keyed uint64) {
	missed := &t.missed[tag%tokenSets]
	if missed.tag == tag {
		set, own := t.set(tag)
		place := &set[own%tokenWays]
		if place.octets != "" {
			place = &set[missed.next%tokenWays]
			missed.next++
		}
		*place = token{tag, keyed, string(octets), []string{string(appendHex(nil, keyed))}, k}
	}
	missed.tag = tag
}
