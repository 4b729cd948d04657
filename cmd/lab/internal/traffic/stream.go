package traffic

import (
	"math"
	"net/netip"

	"offpath/reassembly"
)

// never is the time of what does not happen.
const never = math.MaxInt64

// Truth is what a detector has to find out about a request.
type Truth struct {
	Attack  bool  // sent by the attacker
	Login   bool  // an attempt to log in
	Right   bool  // of a login: the password was right
	Down    bool  // of a login: the application was out of order, and Right says nothing
	Style   Style // of a login: how its endpoint answers
	Account uint64
	// Transfer says that it moves money.
	Transfer bool
}

// Hit reports whether an attacker's login found a password that is right.
func (t Truth) Hit() bool { return t.Attack && t.Login && t.Right }

// producer makes visits in the order of time.
type producer interface {
	next() int64    // when its next visit begins; never
	spawn(v *visit) // makes it
}

// Stream is the traffic of a scenario, in the order of the ends of transactions.
// It is for one goroutine. What a Transaction refers to is shared with later
// ones and must not be changed.
type Stream struct {
	world     *world
	sensor    *sensor
	producers []producer
	due       visits
	spare     []*visit
	serial    uint64
	last      int64
	current   *visit
	proto     *requestPrototype
	step      step
}

func newStream(w *world, producers ...producer) *Stream {
	return &Stream{world: w, sensor: newSensor(w.ja4 && len(w.proxies) == 0, len(w.proxies) > 0), producers: producers}
}

// Next fills tx with the next transaction; false at the end.
func (s *Stream) Next(tx *reassembly.Transaction) (Truth, bool) {
	for {
		s.current = s.pull()
		if s.current == nil {
			return Truth{}, false
		}
		v := s.current
		s.step = v.steps[v.at]
		if v.dead && s.step.session {
			continue
		}
		s.fill(tx, v, &s.step)
		truth := Truth{Down: s.step.down, Attack: v.attack, Account: v.account, Transfer: s.step.call == callTransfer}
		if s.step.call == callLogin {
			truth.Login, truth.Style = true, v.endpoint.style
			truth.Right = s.step.answer == answerOK || s.step.answer == answerFactor
		}
		return truth, true
	}
}

// pull takes the visit whose step ends first, after that step was taken from it.
func (s *Stream) pull() *visit {
	if v := s.current; v != nil {
		if v.at++; v.at < len(v.steps) {
			v.due = v.steps[v.at].end
			s.due.push(v)
		} else {
			s.spare = append(s.spare, v)
		}
	}
	for {
		first := s.producers[0]
		for _, p := range s.producers[1:] {
			if p.next() < first.next() {
				first = p
			}
		}
		if at := first.next(); at == never || len(s.due) > 0 && s.due[0].due < at {
			break
		}
		v := s.visit()
		first.spawn(v)
		if len(v.steps) == 0 {
			s.spare = append(s.spare, v)
			continue
		}
		v.due = v.steps[0].end
		s.due.push(v)
	}
	if len(s.due) == 0 {
		return nil
	}
	return s.due.pop()
}

func (s *Stream) visit() *visit {
	v := new(visit)
	if n := len(s.spare); n > 0 {
		v, s.spare = s.spare[n-1], s.spare[:n-1]
	}
	s.serial++
	*v = visit{steps: v.steps[:0], serial: s.serial}
	return v
}

// Refuse makes the transaction that Next gave out last one that the load
// balancer refused by order of a verdict: the application never saw it, and what
// its sender would have done with a session does not happen.
func (s *Stream) Refuse(tx *reassembly.Transaction, verdict string) {
	s.current.dead = true
	p := s.sensor.response(responseKind{s.current.endpoint, s.step.call, answerRefused}, s.proto)
	tx.RefusedBy, tx.Response = verdict, p.response
	tx.Auth.SessionIssued, tx.Auth.TokenIssued = nil, false
}

// Start is the event time at which the traffic begins, ns since the epoch.
func (s *Stream) Start() int64 { return s.world.start }

// Proxies are the addresses of the load balancers whose forwarding headers are
// to be believed.
func (s *Stream) Proxies() []netip.Prefix {
	var list []netip.Prefix
	for _, a := range s.world.proxies {
		list = append(list, netip.PrefixFrom(a, a.BitLen()))
	}
	return list
}

func (s *Stream) fill(tx *reassembly.Transaction, v *visit, t *step) {
	w := s.world
	request := s.sensor.request(requestKind{v.software, v.endpoint, t.call, t.session})
	response := s.sensor.response(responseKind{v.endpoint, t.call, t.answer}, request)
	s.proto = request
	*tx = request.tx
	end := max(t.end, s.last+1)
	s.last = end
	tx.Start, tx.End = t.start, end
	tx.Duration = end - t.start
	id := mix(v.serial<<12+uint64(v.at), w.seed^ofEvent)
	tx.ID = hex(id)
	tx.Client = v.client
	from, to := s.Peer()
	tx.Source, tx.Destination = netip.AddrPortFrom(from, uint16(1024+v.serial%64000)), to
	if len(w.proxies) > 0 {
		tx.Source = netip.AddrPortFrom(from, uint16(1024+id%64000))
	} else {
		tx.Sequence = v.at
	}
	if request.id >= 0 {
		path := []byte(tx.Request.Path)
		number(path[request.id:request.id+len(example.id)], mix(v.account, ofBankAccount))
		tx.Request.Path = string(path)
		tx.Request.Target = tx.Request.Path
	}
	if t.call == callLogin {
		tx.Auth.UserHash, tx.Auth.PasswordHash = hex(t.user), hex(t.password)
	}
	if t.session {
		tx.Auth.SessionPresented = []string{hex(mix(v.token, ofToken))}
	}
	tx.Response = response.response
	if response.issues {
		token := v.token
		if t.call == callRefresh {
			token++
			v.token = token
		}
		tx.Auth.SessionIssued, tx.Auth.TokenIssued = []string{hex(mix(token, ofToken))}, response.token
	}
	if response.codes != nil {
		message := *tx.OFX
		message.StatusCodes, message.Currency = response.codes, response.currency
		tx.OFX = &message
	}
}

// number writes a number in decimal digits, all the room there is.
func number(dst []byte, n uint64) {
	for i := range dst {
		dst[i] = '1' + byte(n%9)
		n /= 9
	}
}

// visits is a heap by due, then serial.
type visits []*visit

func (h visits) less(i, j int) bool {
	return h[i].due < h[j].due || h[i].due == h[j].due && h[i].serial < h[j].serial
}

func (h *visits) push(v *visit) {
	*h = append(*h, v)
	list := *h
	for i := len(list) - 1; i > 0; {
		parent := (i - 1) / 2
		if !list.less(i, parent) {
			return
		}
		list[i], list[parent] = list[parent], list[i]
		i = parent
	}
}

func (h *visits) pop() *visit {
	list := *h
	first := list[0]
	n := len(list) - 1
	list[0], list[n] = list[n], nil
	list = list[:n]
	*h = list
	for i := 0; ; {
		child := 2*i + 1
		if child >= n {
			return first
		}
		if child+1 < n && list.less(child+1, child) {
			child++
		}
		if !list.less(child, i) {
			return first
		}
		list[i], list[child] = list[child], list[i]
		i = child
	}
}
