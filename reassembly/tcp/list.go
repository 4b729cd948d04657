package tcp

// listID names the lists in which flows stand by idleness, one per timeout.
type listID uint8

const (
	listNone listID = iota
	listOpen        // half open, or no data yet
	listIdle        // with data

	lists = int(iota)
)

// list is a queue of flows, the longest idle first. All its flows have the
// same timeout, so it is in order of expiry too.
type list struct {
	oldest, newest *Flow
	timeout        int64 // ns
}

func (l *list) push(f *Flow, id listID, clock int64) {
	f.in, f.listed = id, clock
	f.older, f.newer = l.newest, nil
	if l.newest != nil {
		l.newest.newer = f
	} else {
		l.oldest = f
	}
	l.newest = f
}

func (l *list) remove(f *Flow) {
	if f.older != nil {
		f.older.newer = f.newer
	} else {
		l.oldest = f.newer
	}
	if f.newer != nil {
		f.newer.older = f.older
	} else {
		l.newest = f.older
	}
	f.older, f.newer, f.in = nil, nil, listNone
}

// place puts f last into a list, out of the one it is in.
func (t *Table) place(f *Flow, id listID) {
	if f.in != listNone {
		t.lists[f.in].remove(f)
	}
	l := &t.lists[id]
	l.push(f, id, t.clock)
	t.next = min(t.next, t.clock+l.timeout)
}
