package content

import (
	"hash/maphash"

	"offpath/reassembly/internal/text"
)

// Sizes of the tables; powers of two. The strings of a worker take at most
// stringSlots * maxInterned octets, 512 KiB, the lists at most 4 MiB.
const (
	stringSlots = 2 << 10
	stringWays  = 2
	maxInterned = 256 // octets of a string
	listSlots   = 1 << 10
	maxList     = 64      // elements of a list
	maxListSize = 4 << 10 // octets of its elements together
)

// stringTable holds strings that come again. A string has two slots to choose
// from: a free one, or, if it comes twice in a row, the one that was used longer
// ago.
type stringTable struct {
	seed maphash.Seed
	sets []stringSet
}

type stringSet struct {
	last  uint64 // hash of the last string that missed
	hash  [stringWays]uint64
	s     [stringWays]string
	older uint8 // the way that was used longer ago
}

func newStringTable() stringTable {
	return stringTable{seed: maphash.MakeSeed(), sets: make([]stringSet, stringSlots/stringWays)}
}

// get returns b as a string, and whether the table holds it.
func (t *stringTable) get(b []byte) (string, bool) {
	if len(b) > maxInterned {
		return "", false
	}
	h := maphash.Bytes(t.seed, b)
	set := &t.sets[h%(stringSlots/stringWays)]
	for way := range set.hash {
		if set.hash[way] == h && set.s[way] == string(b) {
			set.older = uint8(1 - way)
			return set.s[way], true
		}
	}
	if way := set.older; set.s[way] == "" || set.last == h {
		set.hash[way], set.s[way] = h, string(b)
		set.older = 1 - way
		return set.s[way], true
	}
	set.last = h
	return "", false
}

// set makes *dst the octets of part: at once if they are interned, else at the
// next commit of the text. An empty part sets nothing.
func (e *Extractor) set(dst *string, part []byte) {
	if len(part) == 0 {
		return
	}
	if s, ok := e.strings.get(part); ok {
		*dst = s
		return
	}
	e.text.Set(dst, part)
}

// setLower is set with ASCII letters in lower case.
func (e *Extractor) setLower(dst *string, part []byte) {
	e.lower = appendLower(e.lower[:0], part)
	e.set(dst, e.lower)
}

// listTable is a stringTable of lists: header names, cookie names, tokens.
type listTable struct {
	seed  maphash.Seed
	slots []listSlot
}

type listSlot struct {
	last uint64
	list []string
}

func newListTable() listTable {
	return listTable{seed: maphash.MakeSeed(), slots: make([]listSlot, listSlots)}
}

// list returns items as strings; nil if there are none. The list is shared and
// must not be changed.
func (e *Extractor) list(items [][]byte) []string {
	if len(items) == 0 {
		return nil
	}
	if len(items) > maxList {
		return e.newList(items)
	}
	t := &e.lists
	h, size := uint64(len(items)), 0
	for _, item := range items {
		h = mix64(h ^ maphash.Bytes(t.seed, item))
		size += len(item)
	}
	if size > maxListSize {
		return e.newList(items)
	}
	slot := &t.slots[h%listSlots]
	if sameList(slot.list, items) {
		return slot.list
	}
	if slot.last != h {
		slot.last = h
		return e.newList(items)
	}
	list := make([]string, len(items))
	var own text.Builder // the table's strings share no buffer with a transaction's
	for i, item := range items {
		if s, ok := e.strings.get(item); ok {
			list[i] = s
		} else {
			own.Set(&list[i], item)
		}
	}
	own.Commit()
	slot.list = list
	return list
}

func (e *Extractor) newList(items [][]byte) []string {
	list := make([]string, len(items))
	for i, item := range items {
		e.set(&list[i], item)
	}
	return list
}

func sameList(list []string, items [][]byte) bool {
	if len(list) != len(items) {
		return false
	}
	for i, item := range items {
		if list[i] != string(item) {
			return false
		}
	}
	return true
}
