package api

import (
	"encoding/json"
	"sync"
)

// historySize is how many findings are remembered; the oldest is forgotten
// first.
const historySize = 4096

// History remembers the latest findings, one line of JSON per id. The zero
// value is ready; it is safe for concurrent use.
type History struct {
	mu    sync.Mutex
	lines map[string]json.RawMessage
	order []string // ids by first appearance, a ring once it is full
	next  int      // where the next id goes once it is full
}

// Add remembers a finding; a later one of the same id replaces it. It copies
// line, and reports whether the id is new.
func (h *History) Add(id string, line []byte) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lines == nil {
		h.lines = map[string]json.RawMessage{}
	}
	_, known := h.lines[id]
	h.lines[id] = append(json.RawMessage(nil), line...)
	switch {
	case known:
	case len(h.order) < historySize:
		h.order = append(h.order, id)
	default:
		delete(h.lines, h.order[h.next])
		h.order[h.next] = id
		h.next = (h.next + 1) % historySize
	}
	return !known
}

// Latest returns up to limit findings, the newest first.
func (h *History) Latest(limit int) []json.RawMessage {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.order)
	list := make([]json.RawMessage, 0, min(limit, n))
	for i := 1; i <= n && len(list) < limit; i++ {
		list = append(list, h.lines[h.order[(h.next-i+n)%n]])
	}
	return list
}
