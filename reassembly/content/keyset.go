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
type keySet struct {
	names      nameTable
	slots      [keySlots]keySlot
	generation uint32
	n          int
	set, order uint64
}

type keySlot struct {
	path       uint64
	generation uint32
	info       nameInfo
}

func (k *keySet) reset() {
	k.generation++
	if k.generation == 0 {
		clear(k.slots[:])
		k.generation = 1
	}
	k.n, k.set, k.order = 0, 0, 0
}

// add notes the key called name below parent. It returns the key's path, what
// its name says, and whether it is new.
func (k *keySet) add(parent uint64, name []byte) (path uint64, info nameInfo, first bool) {
	said := k.names.look(name)
	path = keyPath(parent, said.hash)
	i := path % keySlots
	for k.slots[i].generation == k.generation {
		if k.slots[i].path == path {
			return path, k.slots[i].info, false
		}
		i = (i + 1) % keySlots
	}
	if k.n == maxKeys {
		return path, said.info, false
	}
	k.slots[i] = keySlot{path, k.generation, said.info}
	k.n++
	k.set += mix64(path)
	k.order = mix64(k.order ^ path)
	return path, said.info, true
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
