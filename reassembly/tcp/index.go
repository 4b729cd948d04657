package tcp

// index finds the flows of a table by their keys: a hash table with open
// addressing, linear probing and no tombstones. The hashes stand beside the
// flows, so that a look-up touches no flow but the one it is for.
type index struct {
	slots []slot // a power of two of them, at most three quarters taken
	flows int
	seed  hashSeed
}

type slot struct {
	hash uint64
	flow *Flow // nil in an empty slot
}

func newIndex() index { return index{slots: make([]slot, 16), seed: newHashSeed()} }

// find returns the flow of a key, given with its hash.
func (x *index) find(k *key, hash uint64) *Flow {
	mask := uint64(len(x.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		s := &x.slots[i]
		if s.flow == nil || s.hash == hash && s.flow.key.equal(k) {
			return s.flow
		}
	}
}

// add takes in a flow that is not there, given with the hash of its key.
func (x *index) add(hash uint64, f *Flow) {
	if x.flows++; x.flows > len(x.slots)/4*3 {
		old := x.slots
		x.slots = make([]slot, 2*len(old))
		for _, s := range old {
			if s.flow != nil {
				x.put(s)
			}
		}
	}
	x.put(slot{hash, f})
}

func (x *index) put(s slot) {
	mask := uint64(len(x.slots) - 1)
	i := s.hash & mask
	for x.slots[i].flow != nil {
		i = (i + 1) & mask
	}
	x.slots[i] = s
}

// remove takes out a flow that is there, and closes the hole: what stands behind
// it moves up as far as its hash allows.
func (x *index) remove(f *Flow) {
	x.flows--
	mask := uint64(len(x.slots) - 1)
	hole := x.seed.hash(&f.key) & mask
	for x.slots[hole].flow != f {
		hole = (hole + 1) & mask
	}
	for i := (hole + 1) & mask; x.slots[i].flow != nil; i = (i + 1) & mask {
		if home := x.slots[i].hash & mask; (i-home)&mask >= (i-hole)&mask {
			x.slots[hole] = x.slots[i]
			hole = i
		}
	}
	x.slots[hole] = slot{}
}
