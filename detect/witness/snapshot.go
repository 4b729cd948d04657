package witness

import (
	"maps"
	"slices"

	"offpath/detect/internal/snapshot"
)

// State writes what became of the verdicts to a snapshot, or reads it into a
// new Book.
func (b *Book) State(c *snapshot.Codec) {
	c.Section("witness")
	var list []*watch
	for _, id := range slices.Sorted(maps.Keys(b.byID)) {
		list = append(list, b.byID[id])
	}
	snapshot.List(c, &list, snapshot.Many, func(w **watch) {
		if c.Reading() {
			*w = new(watch)
		}
		(*w).code(c)
	})
	if !c.Reading() {
		return
	}
	for _, w := range list {
		if b.byID[w.seen.Verdict] != nil || w.subject.UserHash != "" {
			c.Fail("a verdict is followed twice")
			return
		}
		b.follow(w)
	}
}

func (w *watch) code(c *snapshot.Codec) {
	s := &w.seen
	snapshot.String(c, &s.Verdict)
	c.Subject(&w.subject)
	snapshot.Int(c, &w.decided, &w.late, &s.FirstRefused, &s.LastRefused, &s.LastAnswered)
	snapshot.Uint(c, &s.Refused, &s.Answered)
}
