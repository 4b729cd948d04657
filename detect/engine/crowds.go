package engine

import (
	"math"
	"math/bits"

	"offpath/detect/internal/distinct"
	"offpath/detect/internal/generations"
	"offpath/detect/internal/snapshot"
	"offpath/detect/policy"
	"offpath/reassembly"
)

// crowds tells what is shared: how many different sessions a client address or a
// program has been answered well under, and how many clients a session, on this day
// and the day before. What many share no policy of an operator's own may have
// refused because of one of them, however few of them log in.
type crowds struct{ seen *generations.Map[crowd] }

// crowd is who shares something, by linear counting in 64 bits a day.
type crowd struct {
	today, yesterday uint64
	day              uint32
}

const (
	// maxCrowds is how many addresses, programs and sessions are remembered.
	maxCrowds = 1 << 18
	// fewSharers is how many may share what is acted against.
	fewSharers = 10
)

func newCrowds() *crowds { return &crowds{generations.New[crowd](maxCrowds)} }

// shared are the members of which it matters how many share them.
var shared = [...]policy.Member{policy.ByClient, policy.ByFingerprint, policy.ByUserAgent, policy.ByJA4, policy.BySession}

// see records that a request was answered well.
func (c *crowds) see(tx *reassembly.Transaction, id *identity, now int64) {
	if tx.Response.Status < 200 || tx.Response.Status >= 400 {
		return
	}
	if id.session == "" {
		return // nobody's in particular
	}
	for _, m := range shared {
		who := number(id.session)
		if m == policy.BySession {
			if who = 0; id.client.IsValid() {
				who = distinct.Address(id.client.Addr())
			}
		}
		if key := crowdKey(m, id); key != 0 {
			c.add(key, who, now)
		}
	}
}

func (c *crowds) add(key, who uint64, now int64) {
	if who == 0 {
		return
	}
	w, _ := c.seen.At(key)
	w.turn(now)
	w.today |= 1 << (generations.Mix(7, who) & 63)
}

func (w *crowd) turn(now int64) {
	switch day := uint32(now / (24 * 3600e9)); {
	case day == w.day+1:
		w.today, w.yesterday, w.day = 0, w.today, day
	case day > w.day:
		*w = crowd{day: day}
	}
}

// sharers is of how many the member of an identity is, about.
func (c *crowds) sharers(m policy.Member, id *identity, now int64) float64 {
	key := crowdKey(m, id)
	if key == 0 {
		return 0
	}
	w := c.seen.Find(key)
	if w == nil {
		return 0
	}
	w.turn(now)
	free := 64 - bits.OnesCount64(w.today|w.yesterday)
	return 64 * math.Log(64/max(float64(free), 0.5))
}

// crowdKey stands for a member and its value; 0: it is not known.
func crowdKey(m policy.Member, id *identity) uint64 {
	var value uint64
	if m == policy.ByClient {
		if !id.client.IsValid() {
			return 0
		}
		value = distinct.Address(id.client.Addr())
	} else if text := id.text(m); text != "" {
		value = number(text)
	} else {
		return 0
	}
	return max(generations.Mix(number(string(m)), value), 1)
}

func (c *crowds) state(s *snapshot.Codec) {
	c.seen.State(s, func(s *snapshot.Codec, w *crowd) {
		s.Fixed64(&w.today, &w.yesterday)
		snapshot.Uint(s, &w.day)
	})
}
