package sequential

import "time"

// maxEvents is how many transactions a dossier names.
const maxEvents = 20

// dossier is the evidence about one entity since its score left 0.
type dossier struct {
	owner     key
	attempts  int
	failures  int
	successes int
	failed    float64 // sum of the failures' terms
	succeeded float64 // sum of the successes' terms, negative
	baseline  float64 // p0 at the last attempt
	first     int64   // event times, ns since the epoch
	last      int64
	events    [maxEvents]string // the latest, a ring
	times     [maxEvents]int64
	next      int
}

func (d *dossier) note(event string, time int64) {
	d.attempts++
	d.last = time
	d.events[d.next%maxEvents] = event
	d.times[d.next%maxEvents] = time
	d.next++
}

// recent returns the events in their order and their rate per minute.
func (d *dossier) recent() (events []string, perMinute float64) {
	n := min(d.next, maxEvents)
	events = make([]string, 0, n)
	for i := d.next - n; i < d.next; i++ {
		events = append(events, d.events[i%maxEvents])
	}
	if n == 0 {
		return events, 0
	}
	span := d.times[(d.next-1)%maxEvents] - d.times[(d.next-n)%maxEvents]
	return events, float64(n) / max(time.Duration(span).Minutes(), 1.0/60)
}

// dossiers is the bounded store of evidence. When it is full, the hand of a
// clock looks at the next few and the thinnest makes room.
type dossiers struct {
	list      []dossier
	byOwner   map[key]int32
	limit     int
	free      []int32
	hand      int
	evictions uint64
}

func newDossiers(limit int) dossiers { return dossiers{byOwner: make(map[key]int32), limit: limit} }

// find returns an owner's dossier; nil if there is none.
func (s *dossiers) find(owner key) *dossier {
	if i, ok := s.byOwner[owner]; ok {
		return &s.list[i]
	}
	return nil
}

// open returns an owner's dossier, a new one if there is none.
func (s *dossiers) open(owner key) *dossier {
	if d := s.find(owner); d != nil {
		return d
	}
	var index int32
	switch {
	case len(s.free) > 0:
		index = s.free[len(s.free)-1]
		s.free = s.free[:len(s.free)-1]
	case len(s.list) < s.limit:
		s.list = append(s.list, dossier{})
		index = int32(len(s.list) - 1)
	default:
		index = s.thinnest()
		delete(s.byOwner, s.list[index].owner)
		s.evictions++
	}
	s.list[index] = dossier{owner: owner}
	s.byOwner[owner] = index
	return &s.list[index]
}

func (s *dossiers) close(owner key) {
	if i, ok := s.byOwner[owner]; ok {
		s.list[i] = dossier{}
		s.free = append(s.free, i)
		delete(s.byOwner, owner)
	}
}

func (s *dossiers) thinnest() int32 {
	least := -1
	for range looks {
		s.hand = (s.hand + 1) % len(s.list)
		if least < 0 || s.list[s.hand].attempts < s.list[least].attempts {
			least = s.hand
		}
	}
	return int32(least)
}
