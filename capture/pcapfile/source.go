package pcapfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"offpath/capture"
	"offpath/capture/decode"
)

// Options say how captures are read. The zero value reads all of them with a
// worker for each core, as fast as possible.
type Options struct {
	// Workers is how many workers get packets, 1 to capture.Shards; 0 means
	// as many as there are cores.
	Workers int
	// From and To, in ns since the epoch, restrict the input to packets with
	// From <= Time <= To, as if it held no others. 0 in To means no end.
	From, To int64
	// Speed paces the input by its own clock times Speed; 0 means as fast as
	// possible.
	Speed float64
	// Tunnels are the networks whose tunnels in IP are read, both addresses
	// around a tunnel being in one of them; none means all.
	Tunnels []netip.Prefix
	// Secret keys the division of flows into shards; empty means decode.Shard.
	Secret []byte
	// Progress, if set, is called now and then while Run runs, one call after the
	// other, with the octets read from disk and the sum of the sizes of all regular
	// files. Standard input and pipes count in done only.
	Progress func(done, total int64)
	// Stdin is read for the input "-", by one goroutine after the other; nil means
	// os.Stdin.
	Stdin io.Reader
}

func (o *Options) validate() error {
	switch {
	case o.Workers < 0 || o.Workers > capture.Shards:
		return fmt.Errorf("workers must be 0 to %d, not %d", capture.Shards, o.Workers)
	case o.Speed < 0 || math.IsNaN(o.Speed) || math.IsInf(o.Speed, 0):
		return fmt.Errorf("speed must be 0 or more, not %v", o.Speed)
	case o.To != 0 && o.To < o.From:
		return fmt.Errorf("the time range ends (%s) before it begins (%s)", formatTime(o.To), formatTime(o.From))
	}
	return nil
}

func formatTime(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339Nano) }

const maxSourceLink = 1 << 16 // interfaces that have a number of their own

// Source reads captures. It implements capture.Source.
type Source struct {
	inputs  []*input
	skipped []string
	opts    Options
	total   int64 // sizes of the inputs on disk, as far as known

	done  atomic.Int64 // octets read from disk
	stats counters

	// Owned by whoever fills a round.
	decoder    *decode.Decoder
	interfaces map[interfaceKey]uint16
	clock      int64
	started    bool // whether clock is that of a packet
	pace       pacer
}

type interfaceKey struct {
	name string
	link capture.LinkType
}

// counters are the books behind Stats; they move once a round.
type counters struct {
	received, octets, cut, backwards, damaged atomic.Uint64
	frames                                    [capture.Dispositions]atomic.Uint64
	fragments                                 atomic.Pointer[capture.FragmentStats]
}

// Open looks at the named inputs and returns a source of their packets, in the
// given order. "-" is standard input; a folder stands for the captures that
// lie in it (not for those in folders below), ordered by their first packets.
//
// It fails if a file isn't there, is empty (ErrEmpty), or is no capture
// (ErrNotCapture), or if a folder has no captures (ErrNoCaptures); the error
// speaks of all inputs that are wrong. Standard input and pipes are first read
// by Run, which reports the same errors for them.
func Open(paths []string, opts Options) (*Source, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	if opts.Workers == 0 {
		opts.Workers = min(runtime.GOMAXPROCS(0), capture.Shards)
	}
	if opts.To == 0 {
		opts.To = math.MaxInt64
	}
	if opts.Stdin == nil {
		opts.Stdin = os.Stdin
	}
	inputs, skipped, err := resolve(paths)
	if err != nil {
		return nil, err
	}
	s := &Source{
		inputs: inputs, skipped: skipped, opts: opts,
		decoder:    decode.New(decode.Memory, opts.Secret, opts.Tunnels...),
		interfaces: map[interfaceKey]uint16{},
		pace:       pacer{speed: opts.Speed},
	}
	for _, in := range inputs {
		s.total += in.size
	}
	return s, nil
}

// Workers returns the number of workers that Run delivers to.
func (s *Source) Workers() int { return s.opts.Workers }

// Inputs returns the files in reading order; "-" is standard input.
func (s *Source) Inputs() []string {
	names := make([]string, len(s.inputs))
	for i, in := range s.inputs {
		names[i] = in.path
	}
	return names
}

// Skipped returns what was found in folders and is no capture.
func (s *Source) Skipped() []string { return s.skipped }

// Stats returns the books until now. It may be called at any time from any
// goroutine. Packets outside the time range are in none of the counters.
func (s *Source) Stats() capture.Stats {
	st := capture.Stats{
		Received:      s.stats.received.Load(),
		Bytes:         s.stats.octets.Load(),
		SnapLengthCut: s.stats.cut.Load(),
		TimeBackwards: s.stats.backwards.Load(),
		DamagedInputs: s.stats.damaged.Load(),
	}
	for i := range s.stats.frames {
		st.Frames[i] = s.stats.frames[i].Load()
	}
	if f := s.stats.fragments.Load(); f != nil {
		st.Fragments = *f
	}
	return st
}

// Run delivers every packet to h and returns after the last call of h. It may
// be called once. What is wrong with one input doesn't keep it from the next:
// the errors (*capture.DamageError, ErrEmpty and ErrNotCapture for streams,
// and those of reading) are joined. When ctx is done it stops within a round.
func (s *Source) Run(ctx context.Context, h capture.Handler) error {
	f := &feed{source: s, ctx: ctx, left: s.inputs}
	defer f.close()
	work(s.opts.Workers, f.fill, h)
	s.decoder.Flush()
	s.publishFragments()
	return errors.Join(f.errs...)
}

// publishFragments enters the decoder's books into those of the source. It
// returns true if datagrams were put together since the last time.
func (s *Source) publishFragments() bool {
	var before capture.FragmentStats
	if published := s.stats.fragments.Load(); published != nil {
		before = *published
	}
	now := s.decoder.Fragments()
	if now != before {
		published := now
		s.stats.fragments.Store(&published)
	}
	return now.Whole != before.Whole
}

func (s *Source) progress() {
	if s.opts.Progress != nil {
		s.opts.Progress(s.done.Load(), s.total)
	}
}

// intern gives interfaces of the same name and link type the same number, in
// whichever file they are. Beyond maxSourceLink they share the last.
func (s *Source) intern(name string, link capture.LinkType) uint16 {
	key := interfaceKey{name, link}
	index, known := s.interfaces[key]
	if !known {
		if len(s.interfaces) == maxSourceLink {
			return maxSourceLink - 1
		}
		index = uint16(len(s.interfaces))
		s.interfaces[key] = index
	}
	return index
}
