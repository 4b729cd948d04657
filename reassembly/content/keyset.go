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
	h := fnv64(name)
	path = keyPath(parent, name, h)
	i := path % keySlots
	for k.slots[i].generation == k.generation {
		if k.slots[i].path == path {
			return path, k.slots[i].info, false
		}
		i = (i + 1) % keySlots
	}
	info = k.names.classify(name, h)
	if k.n == maxKeys {
		return path, info, false
	}
	k.slots[i] = keySlot{path, k.generation, info}
	k.n++
	k.set += mix64(path)
	k.order = mix64(k.order ^ path)
	return path, info, true
}

// keyPath is the hash of a name below its parent: h, FNV-1a of the name, mixed
// with the parent's. Names that are data themselves (maps keyed by number or by
// address) all count as one, lest each body has keys of its own and an account
// stands in a hash that has no key.
func keyPath(parent uint64, name []byte, h uint64) uint64 {
	if isData(name) {
		h = 0
	}
	return mix64(parent + 0x9e3779b97f4a7c15 ^ h)
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
