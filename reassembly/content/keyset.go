package content

// Bounds of a keySet; the slots are twice the keys and a power of two.
const (
	maxKeys  = 512
	keySlots = 2 * maxKeys
)

// rootPath is the path hash of a document's top.
const rootPath uint64 = 0

// keySet gathers the key names of one body: each distinct path of names once.
// Arrays don't take part in paths, so a list of a hundred like objects has the
// keys of one. Keys beyond maxKeys are left out.
//
// Bodies of one kind have their keys in one order, and the objects of a list
// too. So every slot knows which one came after it last, and a name is looked up
// only if it is not that one's.
type keySet struct {
	names      nameTable
	slots      [keySlots + 1]keySlot // the last is before the first key
	generation uint32
	last       uint16 // slot of the key noted last
	n          int
	set, order uint64
}

// keySlot belongs to the body at hand if generation says so, and else to one
// before it.
type keySlot struct {
	path, parent uint64
	name         ends
	generation   uint32
	info         nameInfo
	next         uint16
}

func (k *keySet) reset() {
	k.generation++
	if k.generation == 0 {
		clear(k.slots[:])
		k.generation = 1
	}
	k.last = keySlots
	k.n, k.set, k.order = 0, 0, 0
}

// add notes the key called name below parent. It returns the key's path, what
// its name says, and whether it is new.
func (k *keySet) add(parent uint64, name []byte) (path uint64, info nameInfo, first bool) {
	ends := endsOf(name)
	next := k.slots[k.last].next
	if s := &k.slots[next]; s.name == ends && s.parent == parent && len(name) <= shortName {
		if s.generation == k.generation {
			k.last = next
			return s.path, s.info, false
		}
		if s.path%keySlots == uint64(next) && k.n < maxKeys {
			k.last = next
			k.note(s)
			return s.path, s.info, true
		}
	}
	said := k.names.look(name, ends)
	path = keyPath(parent, said.hash)
	i := path % keySlots
	for k.slots[i].generation == k.generation {
		if k.slots[i].path == path {
			k.follow(i)
			return path, k.slots[i].info, false
		}
		i = (i + 1) % keySlots
	}
	if k.n == maxKeys {
		return path, said.info, false
	}
	s := &k.slots[i]
	s.path, s.parent, s.name, s.info = path, parent, ends, said.info
	k.follow(i)
	k.note(s)
	return path, said.info, true
}

// take notes a key that an automaton found to be new in this body.
func (k *keySet) take(key *knownKey, name *keyName) {
	i := key.path % keySlots
	for k.slots[i].generation == k.generation {
		i = (i + 1) % keySlots
	}
	s := &k.slots[i]
	s.path, s.parent, s.name, s.info = key.path, name.parent, name.name, key.info
	k.follow(i)
	k.note(s)
}

// follow notes that the key in a slot comes after the one noted before.
func (k *keySet) follow(slot uint64) {
	k.slots[k.last].next = uint16(slot)
	k.last = uint16(slot)
}

// note adds a key that is new in this body.
func (k *keySet) note(s *keySlot) {
	s.generation = k.generation
	k.n++
	k.set += mix64(s.path)
	k.order = mix64(k.order ^ s.path)
}

// keyPath is the hash of a name below its parent: that of the name (FNV-1a)
// mixed with the parent's. Names that are data themselves (maps keyed by number
// or by address) all count as one, of hash 0, lest each body has keys of its own
// and an account stands in a hash that has no key.
func keyPath(parent, name uint64) uint64 {
	return mix64(parent + 0x9e3779b97f4a7c15 ^ name)
}

// isData reports whether a key name is data: longer than names are, holding an
// @ or more than three digits.
func isData(name []byte) bool {
	if len(name) > maxName {
		return true
	}
	digits := 0
	for _, c := range name {
		if c == '@' {
			return true
		}
		if isDigit(c) {
			digits++
		}
	}
	return digits > 3
}
