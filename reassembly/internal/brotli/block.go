package brotli

// The kinds of blocks (RFC 7932 section 6), in the order of the header.
const (
	literals = iota
	commands
	distances
)

// Sizes of alphabets.
const (
	literalAlphabet = 256
	commandAlphabet = 704
	lengthAlphabet  = 26  // of block counts
	maxTypes        = 256 // of blocks of a kind
)

// maxMapEntries bounds the entries of context maps, beside those that the
// decoded octets pay for: a map of 16,384 zeros costs a stream three octets.
const maxMapEntries = 1 << 18

// block is the state of the meta-block at hand.
type block struct {
	kinds   [3]blockKind
	postfix uint // NPOSTFIX
	direct  int  // NDIRECT

	modes         [maxTypes]uint8 // context modes of literals
	literalMap    [64 * maxTypes]uint8
	distanceMap   [4 * maxTypes]uint8
	literalTrees  [maxTypes]tree
	commandTrees  [maxTypes]tree
	distanceTrees [maxTypes]tree
	mapped        int64 // entries of context maps of this stream
}

// blockKind is where the blocks of one kind are.
type blockKind struct {
	types             int
	current, previous uint8
	count             int // symbols until the next switch
	typeTree          tree
	countTree         tree
}

// blockHeader reads the rest of the header of a compressed meta-block (section
// 9.2); false if it is none.
func (r *Reader) blockHeader() bool {
	r.entries = r.entries[:0]
	for i := range r.kinds {
		if !r.readKind(&r.kinds[i]) {
			return false
		}
	}
	r.postfix = uint(r.in.bits(2))
	r.direct = int(r.in.bits(4)) << r.postfix
	for i := range r.kinds[literals].types {
		r.modes[i] = uint8(r.in.bits(2))
	}
	literalTrees, ok := r.readMap(r.literalMap[:64*r.kinds[literals].types])
	if !ok {
		return false
	}
	distanceTrees, ok := r.readMap(r.distanceMap[:4*r.kinds[distances].types])
	if !ok {
		return false
	}
	return r.readTrees(r.literalTrees[:literalTrees], literalAlphabet) &&
		r.readTrees(r.commandTrees[:r.kinds[commands].types], commandAlphabet) &&
		r.readTrees(r.distanceTrees[:distanceTrees], 16+r.direct+48<<r.postfix)
}

func (r *Reader) readTrees(trees []tree, alphabet int) bool {
	for i := range trees {
		var ok bool
		if trees[i], ok = r.readTree(alphabet); !ok {
			return false
		}
	}
	return true
}

// readNumber reads a number from 1 to 256.
func (r *Reader) readNumber() int {
	if r.in.bits(1) == 0 {
		return 1
	}
	n := uint8(r.in.bits(3))
	return 1<<n + int(r.in.bits(n)) + 1
}

func (r *Reader) readKind(k *blockKind) (ok bool) {
	k.types = r.readNumber()
	k.current, k.previous = 0, 1
	if k.types == 1 {
		k.count = 1 << 24
		return true
	}
	if k.typeTree, ok = r.readTree(k.types + 2); !ok {
		return false
	}
	if k.countTree, ok = r.readTree(lengthAlphabet); !ok {
		return false
	}
	k.count = r.readCount(k)
	return true
}

func (r *Reader) readCount(k *blockKind) int {
	n := blockCounts[r.in.symbol(&k.countTree)]
	return int(n.base) + int(r.in.bits(n.bits))
}

// switchBlock counts one symbol of a kind, and begins the next block before it
// where one ends. False at the end of the input.
func (r *Reader) switchBlock(kind int) bool {
	k := &r.kinds[kind]
	if k.count == 0 {
		if k.types == 1 {
			k.count = 1 << 24
		} else {
			next := int(r.in.symbol(&k.typeTree))
			switch next {
			case 0:
				next = int(k.previous)
			case 1:
				next = int(k.current) + 1
			default:
				next -= 2
			}
			if next >= k.types {
				next -= k.types
			}
			k.previous, k.current = k.current, uint8(next)
			k.count = r.readCount(k)
		}
	}
	k.count--
	return r.in.err == nil
}

// readMap reads a context map (section 7.3) and returns how many trees it
// refers to; not ok if it is none.
func (r *Reader) readMap(m []uint8) (trees int, ok bool) {
	trees = r.readNumber()
	clear(m)
	if trees == 1 {
		return trees, r.in.err == nil
	}
	if r.mapped += int64(len(m)); r.mapped > maxMapEntries+4*r.out {
		return 0, false
	}
	zeros := uint16(0) // codes of runs of zeros
	if r.in.bits(1) == 1 {
		zeros = uint16(r.in.bits(4)) + 1
	}
	code, ok := r.readTree(trees + int(zeros))
	if !ok {
		return 0, false
	}
	for i := 0; i < len(m); {
		symbol := r.in.symbol(&code)
		if r.in.err != nil {
			return 0, false
		}
		switch {
		case symbol == 0:
			i++
		case symbol <= zeros:
			if i += 1<<symbol + int(r.in.bits(uint8(symbol))); i > len(m) {
				return 0, false
			}
		default:
			m[i] = uint8(symbol - zeros)
			i++
		}
	}
	if r.in.bits(1) == 1 {
		moveToFront(m)
	}
	return trees, r.in.err == nil
}

// moveToFront undoes the move-to-front transform.
func moveToFront(m []uint8) {
	var order [256]uint8
	for i := range order {
		order[i] = uint8(i)
	}
	for i, at := range m {
		v := order[at]
		m[i] = v
		if at > 0 {
			copy(order[1:], order[:at])
			order[0] = v
		}
	}
}
