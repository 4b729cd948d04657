package service

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"offpath/cmd/offpath/internal/detection"
	"offpath/cmd/offpath/internal/logging"
	"offpath/cmd/offpath/internal/state"
	"offpath/detect"
	"offpath/detect/engine"
)

// newsAfter is how long after the last snapshot news of a campaign may have
// another one taken: what a crash then costs is seconds, not state.every.
const newsAfter = 20 * time.Second

// keeper keeps what detection knows across a restart. A snapshot is gathered by
// the stage's goroutine, which waits for nothing else, and packed and written by
// one of its own; while that goes on no other is taken.
type keeper struct {
	file  *state.File
	key   string // that of the hashes, without telling it
	every time.Duration
	log   logging.Log
	stage *detection.Stage
	// kept is told that what the stage was fed of a generation of partitions up to a
	// watermark is in the file; nil: nobody.
	kept func(generation uint64, watermark int64)
	// covered is up to which event time what each partition held is known, of those
	// that are read at present with what they are fed; for the stage's goroutine.
	covered    map[int]int64
	present    []int
	generation uint64

	resumed engine.Resumed // what it went on from; zero: nothing
	taken   time.Time      // when the last snapshot was asked for
	news    atomic.Bool    // of a campaign, since then
	writing sync.WaitGroup
	busy    atomic.Bool
	failure atomic.Pointer[error]
	books   state.Books
}

// newKeeper goes on with the state of a folder. The key is that which accounts are
// known by, nil where that is not known here.
func newKeeper(p *process, key []byte) *keeper {
	c := p.options.Config
	k := &keeper{file: state.In(c.State.Dir), key: keyID(key), every: c.State.Every, log: p.log, taken: time.Now(), covered: map[int]int64{}}
	p.books.State, p.node.state = k.books.Stats, k.books.Stats
	return k
}

// keyID names a key without telling it.
func keyID(key []byte) string {
	if key == nil {
		return ""
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("offpath state: which key"))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

// open makes the engine of the state, or a new one if there is none that can be
// used.
func (k *keeper) open(cfg engine.Config, sink engine.Sink) (*engine.Engine, error) {
	var e *engine.Engine
	err := k.file.Read(func(r io.Reader) (err error) {
		e, k.resumed, err = engine.Resume(cfg, sink, r, k.key)
		return err
	})
	if ahead := time.Until(time.Unix(0, k.resumed.Time)); err == nil && ahead > maxAhead {
		if info, _ := os.Stat(k.file.Path()); info != nil && time.Until(info.ModTime()) > maxAhead {
			return nil, &SetupError{fmt.Errorf("%s was written at %s, which is yet to come: this machine's clock is behind; set it, or move the file away to begin anew",
				k.file.Path(), info.ModTime().UTC().Format(time.RFC3339))}
		}
		err = fmt.Errorf("%w: by %v", errAhead, ahead.Round(time.Second))
		k.resumed = engine.Resumed{}
	}
	switch {
	case err == nil:
		at := time.Unix(0, k.resumed.Time).UTC()
		event := k.log.Info().Str("file", k.file.Path()).Time("until", at)
		if k.resumed.Dropped > 0 {
			event = event.Uint64("forgotten", k.resumed.Dropped)
		}
		event.Msg("restored state of " + at.Format(time.RFC3339))
		k.books.Restored(at)
		if k.resumed.Input != "" {
			if err := json.Unmarshal([]byte(k.resumed.Input), &k.covered); err != nil {
				return nil, fmt.Errorf("%s: how far the input was read: %w", k.file.Path(), err)
			}
		}
		return e, nil
	case errors.Is(err, fs.ErrNotExist):
		return engine.New(cfg, sink)
	case errors.Is(err, engine.ErrVersion), errors.Is(err, engine.ErrKey), errors.Is(err, engine.ErrDamaged), errors.Is(err, errAhead):
	default:
		return nil, &SetupError{fmt.Errorf("%s can't be read: %w; mend that, or move it away to begin anew", k.file.Path(), err)}
	}
	reason, text := mend(err)
	aside, failed := k.file.SetAside(reason)
	if failed != nil {
		return nil, &SetupError{errors.Join(err, failed)}
	}
	k.log.Warn().Str("file", k.file.Path()).Str("moved_to", aside).Err(err).
		Msg("what detection had learned is not restored: " + text + "; verdicts in force are, by the journal of mitigation")
	return engine.New(cfg, sink)
}

// errAhead says that a state knows of times that have not come: a clock was wrong.
// With it nothing would expire or be forgotten until they have.
var errAhead = errors.New("it is ahead of the clock")

// maxAhead is by how much a state may be ahead of the clock.
const maxAhead = 5 * time.Minute

// mend says why a state is not used, in a word, which names the file that it becomes,
// and in a sentence that says what can be done.
func mend(err error) (reason, text string) {
	switch {
	case errors.Is(err, engine.ErrVersion):
		return "other-version", "it was written by another version of offpath, which can go on from it"
	case errors.Is(err, engine.ErrKey):
		return "other-key", "the site key has changed, and with it the names of accounts and sessions; with the old key in hash.key, and the file put back, it can be restored"
	case errors.Is(err, errAhead):
		return "ahead", "a clock was ahead when it was written, here or at a sensor; without it detection learns anew"
	}
	return "damaged", "the file is damaged; restore it from a backup, or do without it"
}

// found is told of each finding.
func (k *keeper) found(f *detect.Finding, news bool) {
	if f.Campaign != nil && (news || f.Campaign.State == "closed") {
		k.news.Store(true)
	}
}

// tick takes a snapshot when one is due.
func (k *keeper) tick(now time.Time) {
	since := now.Sub(k.taken)
	if since >= k.every || since >= newsAfter && k.news.Load() {
		k.take(now)
	}
}

// take has a snapshot taken, unless one is being written.
func (k *keeper) take(now time.Time) {
	if !k.busy.CompareAndSwap(false, true) {
		return
	}
	k.taken = now
	k.news.Store(false)
	k.writing.Add(1)
	k.stage.Post(func(e *engine.Engine) {
		began := time.Now()
		generation, fed, content := k.generation, k.stage.Fed(), e.Snapshot(engine.Origin{Key: k.key, Input: k.input()})
		pause := time.Since(began)
		go func() {
			defer k.writing.Done()
			defer k.busy.Store(false)
			if k.write(content, pause) && k.kept != nil {
				k.kept(generation, fed)
			}
		}()
	})
}

func (k *keeper) write(content io.WriterTo, pause time.Duration) bool {
	began := time.Now()
	size, err := k.file.Write(content)
	k.books.Wrote(size, pause, time.Since(began), err)
	if err != nil {
		err = fmt.Errorf("what detection has learned can't be kept: %w", err)
		if k.failure.Swap(&err) == nil {
			k.log.Error().Str("file", k.file.Path()).Err(err).Msg("state not written; a restart would go on from the one before")
		}
		return false
	}
	k.failure.Store(nil)
	k.log.Debug().Int64("bytes", size).Dur("pause", pause).Msg("state written")
	return true
}

// assigned is told which partitions are read from now on, before what they hold is
// fed. It is called by the stage.
func (k *keeper) assigned(generation uint64, partitions []int) {
	k.settle()
	k.generation, k.present = generation, partitions
	k.stage.Anew()
}

// settle notes how far the partitions were read.
func (k *keeper) settle() {
	if fed := k.stage.Fed(); fed != math.MinInt64 {
		for _, p := range k.present {
			k.covered[p] = max(k.covered[p], fed)
		}
	}
}

// input is how far the partitions were read, for the snapshot; "" where there are
// none.
func (k *keeper) input() string {
	k.settle()
	if len(k.covered) == 0 {
		return ""
	}
	text, _ := json.Marshal(k.covered) // never fails
	return string(text)
}

// last takes the last snapshot, of everything that was fed, and waits for it, once
// end has had the stage handle that.
func (k *keeper) last(end func() error) error {
	k.writing.Wait()
	k.take(time.Now())
	err := end()
	k.writing.Wait()
	return err
}
