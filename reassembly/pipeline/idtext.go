package pipeline

import "strings"

// idsPerText is how many ids share an allocation. Who keeps one keeps them all
// alive, so they are few.
const idsPerText = 16

// idText makes strings of event ids, all of which have the same length.
type idText struct{ text strings.Builder }

func (t *idText) add(id []byte) string {
	if t.text.Cap()-t.text.Len() < len(id) {
		t.text.Reset()
		t.text.Grow(idsPerText * len(id))
	}
	t.text.Write(id)
	all := t.text.String()
	return all[len(all)-len(id):]
}
