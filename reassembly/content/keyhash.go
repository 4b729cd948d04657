package content

import "offpath/reassembly"

// keyHashSlots is the size of a keyHashTable, a power of two.
const keyHashSlots = 1 << 8

// keyHashTable holds the hashes of key sets that were seen more than once, as
// they stand in signatures. It is direct mapped, as a stringTable is.
type keyHashTable struct{ slots []keyHashSlot }

type keyHashSlot struct {
	last       uint64 // order hash of the last set that missed
	set, order uint64
	keys       string // hash of the set in hex; "" in an empty slot
	inOrder    string // hash of the order in hex
}

// setKeys sets what a signature says of the keys of the body at hand.
func (e *Extractor) setKeys(sig *reassembly.Signature) {
	if e.keys.n == 0 {
		return
	}
	set, order := mix64(e.keys.set+uint64(e.keys.n)), e.keys.order
	slot := &e.keyHashes.slots[order%keyHashSlots]
	switch {
	case slot.keys != "" && slot.set == set && slot.order == order:
	case slot.last == order:
		*slot = keyHashSlot{order, set, order, string(appendHex(nil, set)), string(appendHex(nil, order))}
	default:
		slot.last = order
		e.hex = appendHex(e.hex[:0], set)
		e.text.Set(&sig.Keys, e.hex)
		e.hex = appendHex(e.hex[:0], order)
		e.text.Set(&sig.Order, e.hex)
		return
	}
	sig.Keys, sig.Order = slot.keys, slot.inOrder
}
