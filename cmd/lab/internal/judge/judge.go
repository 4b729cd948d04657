package judge

import (
	"fmt"
	"math"
	"time"

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
	// the detector takes for them.
	ByRole bool
	// Enforced makes requests that match a verdict come out refused; else every
	// request is seen as if nothing were enforced.
	Enforced bool
	// Attack says that there is an attacker: what was found is compared with the
	// truth for every login.
	Attack bool
}

// OnsetUnknown stands for an onset that the traffic has to show.
const OnsetUnknown = math.MaxInt64

// Engine judges offpath's engine.
func Engine(cfg engine.Config, c Case) (Result, error) {
	cfg.Mode = detect.ModeMonitor
	if c.Enforced {
		cfg.Mode = detect.ModeEnforce
	}
	j := newJudge(c)
	e, err := engine.New(cfg, j)
	if err != nil {
		return Result{}, fmt.Errorf("make the engine: %w", err)
	}
	j.run(func(tx *reassembly.Transaction, _ traffic.Truth) { e.Observe(tx) })
	e.Close()
	return j.result(), nil
}

// Rival judges a detector that make makes, which tells the Sink what it decides.
func Rival(build func(engine.Sink) Detector, c Case) Result {
	j := newJudge(c)
	j.run(build(j).Observe)
	return j.result()
}

// judge is a Sink, and compares what it is told with the truth.
type judge struct {
	Case
	book  *book
	cover *cover
	seen  tally

	batch  []reassembly.Transaction
	truths []traffic.Truth
	stops  []string // verdict that refused a request
	spent  time.Duration
}

// Batches are as long as the clock's own cost asks for, and shorter than
// latency, so that no verdict decided in one is in force for a request of it.
const (
	batchSize = 512
	batchSpan = int64(latency) - 1
)

func newJudge(c Case) *judge {
	return &judge{
		Case: c, book: newBook(), cover: newCover(), seen: newTally(c.Onset),
		batch: make([]reassembly.Transaction, batchSize), truths: make([]traffic.Truth, batchSize), stops: make([]string, batchSize),
	}
}

// Finding implements engine.Sink.
func (j *judge) Finding(f *detect.Finding) { j.cover.finding(f) }

// Verdict implements engine.Sink.
func (j *judge) Verdict(v *detect.Verdict) {
	j.cover.verdict(v)
	j.book.apply(v)
}

func (j *judge) run(observe func(*reassembly.Transaction, traffic.Truth)) {
	var endpoints map[[3]string]string
	if j.Enforced {
		endpoints = make(map[[3]string]string)
	}
	watch := newStopwatch()
	defer watch.close()
	for more := true; more; {
		n := 0
		for n < batchSize {
			tx := &j.batch[n]
			if j.truths[n], more = j.Source.Next(tx); !more {
				break
			}
			j.stops[n] = ""
			if j.Enforced {
				tx.Annotation.Endpoint = endpoints[[3]string{tx.Request.Method, tx.Request.Domain, tx.Request.Path}]
				if id := j.stopped(tx, j.truths[n]); id != "" {
					j.stops[n] = id
					j.Source.Refuse(tx, id)
				}
			}
			n++
			if tx.End-j.batch[0].End >= batchSpan {
				break
			}
		}
		watch.start()
		for i := range n {
			observe(&j.batch[i], j.truths[i])
		}
		watch.stop()
		for i := range n {
			tx := &j.batch[i]
			if j.ByRole {
				j.truths[i].Login = tx.Annotation.Role == login.RoleLogin
			}
			if j.Onset == OnsetUnknown && j.truths[i].Attack {
				j.Onset, j.seen.onset = tx.Start, tx.Start
			}
			if j.Enforced {
				endpoints[[3]string{tx.Request.Method, tx.Request.Domain, tx.Request.Path}] = tx.Annotation.Endpoint
			} else {
				j.stops[i] = j.stopped(tx, j.truths[i])
			}
			j.count(tx, j.truths[i], j.stops[i] != "")
		}
		j.book.purge()
	}
	j.spent = watch.spent
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

// count takes a judged request into the books.
func (j *judge) count(tx *reassembly.Transaction, truth traffic.Truth, stopped bool) {
	j.seen.add(tx, truth, stopped)
	if j.Attack && truth.Login {
		j.cover.login(tx, truth, stopped)
	}
}
