package webhook

import (
	"offpath/detect"
	"offpath/mitigate"
)

// held is what the receiver has acknowledged and was not told the end of: each verdict
// with the event that it came with.
type held struct {
	byID      map[mitigate.ID]event
	bySubject map[detect.Subject]mitigate.ID
}

func newHeld() held {
	return held{make(map[mitigate.ID]event), make(map[detect.Subject]mitigate.ID)}
}

func (h *held) put(e event) {
	h.drop(e.entry.ID) // its subject may be another now
	e.Verdict = nil
	h.byID[e.entry.ID] = e
	h.bySubject[e.entry.Subject] = e.entry.ID
}

func (h *held) drop(id mitigate.ID) {
	e, ok := h.byID[id]
	if !ok {
		return
	}
	delete(h.byID, id)
	if h.bySubject[e.entry.Subject] == id {
		delete(h.bySubject, e.entry.Subject)
	}
}
