package tcp

// index finds what a table knows of a key: a flow, or what it remembers of one
// that was closed. It is a hash table with open addressing, linear probing and no
// tombstones. The hashes stand in it, so that a look-up touches no flow but the
// one it is for.
type index struct {
	slots  []slot // a power of two of them, at most three quarters taken
	taken  int
	seed   hashSeed
	closed remembered
}

type slot struct {
	flow *Flow  // nil: one that was closed
	at   uint32 // its place among those, if so
	hash uint32 // 0 in an empty slot
}

func newIndex() index { return index{slots: make([]slot, 16), seed: newHashSeed()} }

// hash is that of a key, never 0.
func (x *index) hash(k *key) uint32 { return uint32(x.seed.hash(k)) | 1<<31 }

func (x *index) mask() uint32 { return uint32(len(x.slots) - 1) }

// find returns the slot of a key, given with its hash; an empty one if there is
// none.
func (x *index) find(k *key, hash uint32) slot {
	slots, mask := x.slots, x.mask()
	for i := hash & mask; ; i = (i + 1) & mask {
		switch s := &slots[i]; {
		case s.hash == 0:
			return slot{}
		case s.hash != hash:
		case s.flow != nil && s.flow.key.equal(k), s.flow == nil && x.closed.get(s.at).key.equal(k):
			return *s
		}
	}
}

// place returns where a slot stands that is there.
func (x *index) place(s slot) uint32 {
	i := s.hash & x.mask()
	for x.slots[i] != s {
		i = (i + 1) & x.mask()
	}
	return i
}

// add takes in a flow that is not there, given with the hash of its key.
func (x *index) add(hash uint32, f *Flow) {
	if x.taken++; x.taken > len(x.slots)/4*3 {
		old := x.slots
		x.slots = make([]slot, 2*len(old))
		for _, s := range old {
			if s.hash != 0 {
				x.put(s)
			}
		}
	}
	x.put(slot{flow: f, hash: hash})
}

func (x *index) put(s slot) {
	i := s.hash & x.mask()
	for x.slots[i].hash != 0 {
		i = (i + 1) & x.mask()
	}
	x.slots[i] = s
}

// remove takes a slot out that is there, and closes the hole: what stands behind
// it moves up as far as its hash allows.
func (x *index) remove(s slot) {
	x.taken--
	hole := x.place(s)
	for i := (hole + 1) & x.mask(); x.slots[i].hash != 0; i = (i + 1) & x.mask() {
		if home := x.slots[i].hash & x.mask(); (i-home)&x.mask() >= (i-hole)&x.mask() {
			x.slots[hole] = x.slots[i]
			hole = i
		}
	}
	x.slots[hole] = slot{}
}

// removeFlow takes out a flow that is there.
func (x *index) removeFlow(f *Flow) { x.remove(slot{flow: f, hash: x.hash(&f.key)}) }

// close puts what is to be remembered of a flow in its place.
func (x *index) close(f *Flow, clock int64) {
	hash := x.hash(&f.key)
	x.slots[x.place(slot{flow: f, hash: hash})] = slot{at: x.closed.push(f, clock), hash: hash}
}

// forget takes out what is remembered of a flow.
func (x *index) forget(s slot) {
	x.remove(s)
	x.closed.get(s.at).gone = true
	x.closed.trim()
}

// forgetOldest takes out the flow that was closed before all others that are
// remembered.
func (x *index) forgetOldest() {
	x.forget(slot{at: x.closed.head, hash: x.hash(&x.closed.oldest().key)})
}
