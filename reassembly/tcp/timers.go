package tcp

// timers is a binary heap of the flows that wait for a time, the earliest
// first; among equals, the flow opened first.
type timers []*Flow

func (h timers) less(i, j int) bool {
	if h[i].due != h[j].due {
		return h[i].due < h[j].due
	}
	return int32(h[i].serial-h[j].serial) < 0
}

func (h timers) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].timer, h[j].timer = int32(i), int32(j)
}

func (h timers) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.less(i, parent) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h timers) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h.less(child, least) {
				least = child
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}

// set makes f due at a time; 0 takes it out.
func (h *timers) set(f *Flow, due int64) {
	switch {
	case f.timer >= 0 && due != 0:
		f.due = due
		h.up(int(f.timer))
		h.down(int(f.timer))
	case f.timer >= 0:
		i, last := int(f.timer), len(*h)-1
		h.swap(i, last)
		(*h)[last] = nil
		*h = (*h)[:last]
		if i < last {
			moved := (*h)[i]
			h.up(i)
			h.down(int(moved.timer))
		}
		f.timer, f.due = -1, 0
	case due != 0:
		f.due, f.timer = due, int32(len(*h))
		*h = append(*h, f)
		h.up(int(f.timer))
	}
}
