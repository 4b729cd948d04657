package judge

import (
	"errors"
	"fmt"
	"math"

	"offpath/cmd/lab/internal/traffic"
	"offpath/detect"
	"offpath/detect/engine"
	"offpath/detect/login"
	"offpath/reassembly"
)

// Source is labelled traffic in the order of the ends of transactions.
type Source interface {
	// Next fills tx with the next transaction; false at the end.
	Next(tx *reassembly.Transaction) (traffic.Truth, bool)
	// Refuse makes the transaction given out last one that was refused by order
	// of a verdict.
	Refuse(tx *reassembly.Transaction, verdict string)
}

// Detector is what is judged. It is given every transaction with the truth about
// it, of which an honest one takes nothing.
type Detector interface {
	Observe(tx *reassembly.Transaction, truth traffic.Truth)
}

// Case is what is judged on.
type Case struct {
	Source Source
	// Onset is the event time at which the attack begins, or what a detector must
	// not take for one; ns since the epoch. With [OnsetUnknown] it is that of the
	// attacker's first request.
	Onset int64
	// ByRole says that nothing is known about which requests are logins but what
	// the detector takes for them, and the first contender's opinion is all that
	// the others have.
	ByRole bool
	// Enforced makes requests that match a verdict come out refused; else every
	// request is seen as if nothing were enforced.
	Enforced bool
	// Weigh has the memory measured that the detector holds at the end. Nothing
	// else may run then.
	Weigh bool
	// Attack says that there is an attacker: what was found is compared with the
	// truth for every login.
	Attack bool
}

// OnsetUnknown stands for an onset that the traffic has to show.
const OnsetUnknown = math.MaxInt64

// Contender is a detector to be judged.
type Contender struct {
	Name string
	// Build makes it; it tells the Sink what it decides.
	Build func(engine.Sink) (Detector, error)
}

// Engine is offpath's engine.
func Engine(cfg engine.Config) Contender {
	return Contender{"offpath", func(sink engine.Sink) (Detector, error) {
		e, err := engine.New(cfg, sink)
		if err != nil {
			return nil, fmt.Errorf("make the engine: %w", err)
		}
		return observer{e}, nil
	}}
}

// observer is an engine, which is not told the truth.
type observer struct{ engine *engine.Engine }

func (o observer) Observe(tx *reassembly.Transaction, _ traffic.Truth) { o.engine.Observe(tx) }

// Judge judges contenders on the same traffic. Where verdicts are enforced there
// can be but one.
func Judge(c Case, contenders ...Contender) ([]Result, error) {
	if c.Enforced && len(contenders) > 1 {
		return nil, errors.New("what one contender enforces another would see")
	}
	var judges []*judge
	for _, one := range contenders {
		j := newJudge(c)
		var err error
		if j.detector, err = one.Build(j); err != nil {
			return nil, err
		}
		judges = append(judges, j)
	}
	run(c, judges)
	var results []Result
	for _, j := range judges {
		if c.Weigh {
			all := heap()
			j.detector = nil
			j.held = all - heap()
		}
		results = append(results, j.result())
	}
	return results, nil
}

// judge is a Sink, and compares what it is told with the truth.
type judge struct {
	Case
	detector Detector
	book     *book
	cover    *cover
	money    *money
	seen     tally
	weight   *weight // nil: it is not weighed
	held     float64 // octets of memory
	// endpoints are what the detector has called requests, to tell what it would
	// call one before it has seen it. Only where verdicts are enforced.
	endpoints map[place]string
}

type place struct{ method, domain, path string }

func placeOf(tx *reassembly.Transaction) place {
	return place{tx.Request.Method, tx.Request.Domain, tx.Request.Path}
}

// Batches are shorter than latency, so that no verdict decided in one is in force for a request of it.
const (
	batchSize = 512
	batchSpan = int64(latency) - 1
)

// batch is requests that are judged together.
type batch struct {
	n      int
	txs    [batchSize]reassembly.Transaction
	truths [batchSize]traffic.Truth
	stops  [batchSize]bool // by a verdict in force; only where verdicts are enforced
}

func newJudge(c Case) *judge {
	j := &judge{Case: c, book: newBook(), cover: newCover(), money: newMoney(), seen: newTally(c.Onset)}
	if c.Weigh {
		j.weight = newWeight()
	}
	if c.Enforced {
		j.endpoints = make(map[place]string)
	}
	return j
}

// Finding implements engine.Sink.
func (j *judge) Finding(f *detect.Finding) { j.cover.finding(f) }

// Verdict implements engine.Sink.
func (j *judge) Verdict(v *detect.Verdict) {
	j.cover.verdict(v)
	j.money.verdict(v)
	j.book.apply(v)
}

// run has all the traffic observed and judged.
func run(c Case, judges []*judge) {
	b := new(batch)
	for more := true; more; {
		more = b.fill(c, judges)
		for _, j := range judges {
			j.take(b)
		}
	}
}

// fill reads requests, and refuses those that a verdict in force matches.
func (b *batch) fill(c Case, judges []*judge) (more bool) {
	for b.n = 0; b.n < batchSize; {
		tx, truth := &b.txs[b.n], &b.truths[b.n]
		if *truth, more = c.Source.Next(tx); !more {
			return false
		}
		if c.Enforced {
			j := judges[0]
			tx.Annotation.Endpoint = j.endpoints[placeOf(tx)]
			id := j.stopped(tx, *truth)
			if b.stops[b.n] = id != ""; id != "" {
				c.Source.Refuse(tx, id)
			}
		}
		b.n++
		if tx.End-b.txs[0].End >= batchSpan {
			return true
		}
	}
	return true
}

// tell lets contenders that find out nothing by themselves know what the first has
// found out about a request, where nobody else does.
func (b *batch) tell(i int, found *traffic.Truth) {
	outcome := b.txs[i].Annotation.EventOutcome
	if !found.Login || outcome == "" {
		return
	}
	b.truths[i].Login = outcome != "unknown"
	b.truths[i].Right = outcome == "success"
}

// take has a batch observed and judges it.
func (j *judge) take(b *batch) {
	for i := range b.n {
		b.txs[i].Annotation = reassembly.Annotation{} // of the one before
	}
	for i := range b.n {
		j.detector.Observe(&b.txs[i], b.truths[i])
	}
	for i := range b.n {
		tx, truth := &b.txs[i], b.truths[i]
		if j.ByRole {
			truth.Login = tx.Annotation.Role == login.RoleLogin
			b.tell(i, &truth)
		}
		if j.Onset == OnsetUnknown && truth.Attack {
			j.Onset, j.seen.onset = tx.Start, tx.Start
		}
		stopped := b.stops[i]
		if j.Enforced {
			j.endpoints[placeOf(tx)] = tx.Annotation.Endpoint
		} else {
			stopped = j.stopped(tx, truth) != ""
		}
		j.seen.add(tx, truth, stopped)
		if j.weight != nil {
			j.weight.add(tx)
		}
		if j.Attack && truth.Login {
			j.cover.login(tx, truth, stopped)
		}
		if truth.Attack {
			j.money.add(tx, truth, stopped)
		}
	}
	j.book.purge()
}

// stopped is the verdict that keeps a request from the application, if any. It
// counts for every verdict that matches.
func (j *judge) stopped(tx *reassembly.Transaction, truth traffic.Truth) (id string) {
	f := featuresOf(tx)
	j.book.match(&f, tx.Start, func(e *entry) bool {
		if !e.stops(f.client, tx.Start) {
			return false
		}
		if id == "" {
			id = e.id
		}
		if truth.Attack && truth.Login && tx.Start < e.from+latency+following {
			e.following++
		}
		return false
	})
	return id
}
