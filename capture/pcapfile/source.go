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
	// Progress, if set, is called now and then from Run with the octets read
	// from disk and the sum of the sizes of all regular files. Standard input
	// and pipes count in done only.
	Progress func(done, total int64)
	// Stdin is read for the input "-"; nil means os.Stdin.
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

	// Owned by Run.
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
	crew := newCrew(s.opts.Workers, h)
	defer crew.wait()
	var errs []error
	for _, in := range s.inputs {
		err := s.read(ctx, in, crew)
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			break
		}
		if err == nil {
			continue
		}
		var damage *capture.DamageError
		if errors.As(err, &damage) {
			s.stats.damaged.Add(1)
		}
		errs = append(errs, err)
	}
	s.decoder.Flush()
	s.publishFragments()
	return errors.Join(errs...)
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

// read delivers one input. It returns the context's error if that is done.
func (s *Source) read(ctx context.Context, in *input, crew crew) error {
	src, err := in.open(ctx, s.opts.Stdin, &s.done)
	if err != nil {
		return err
	}
	defer src.Close()
	scan := newScanner(in.path, src, s.intern)
	out := outlet{source: s, crew: crew}
	if err := out.renew(ctx, scan, true); err != nil {
		return err
	}
	var rec record // escapes through the parser, so there is one for all
	for {
		before := scan.pos
		switch scan.next(&rec) {
		case scanRecord:
			switch rec.kind {
			case recordPacket:
				if rec.time < s.opts.From || rec.time > s.opts.To {
					continue
				}
				if wait := s.pace.wait(max(s.clock, rec.time)); wait > 0 {
					scan.unread(before)
					out.flush()
					if err := out.renew(ctx, scan, false); err != nil {
						return err
					}
					if err := sleep(ctx, wait); err != nil {
						return err
					}
					continue
				}
				out.add(&rec)
			case recordSecrets:
				// They are for the packets behind them, whatever the round.
				secrets := append([]byte(nil), rec.data...)
				out.flush()
				if err := out.renew(ctx, scan, false); err != nil {
					return err
				}
				out.round.secrets = secrets
			}
		case scanMore:
			out.flush()
			if err := out.renew(ctx, scan, true); err != nil {
				return err
			}
		case scanEnd:
			out.flush()
			s.progress()
			return scan.err()
		}
	}
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

// outlet fills rounds with decoded packets.
type outlet struct {
	source *Source
	crew   crew
	round  *round
	packet capture.Packet // the one at hand, on its way to one of several workers

	octets, cut, backwards uint64 // of the round
	frames                 [capture.Dispositions]uint64
}

// renew takes a new round and lets scan go on in its buffer, reading more into
// it if asked to. The round before was flushed.
func (o *outlet) renew(ctx context.Context, scan *scanner, more bool) error {
	if o.round = o.crew.next(ctx); o.round == nil {
		return ctx.Err()
	}
	if more {
		scan.refill(o.round.buf)
	} else {
		scan.move(o.round.buf)
	}
	o.round.buf = scan.buf
	return nil
}

// add decodes a frame into its worker's batch.
func (o *outlet) add(rec *record) {
	s := o.source
	if !s.started || rec.time >= s.clock {
		s.clock, s.started = rec.time, true
	} else {
		o.backwards++
	}
	batches := o.round.packets
	p := &o.packet
	if len(batches) == 1 {
		p = extend(&batches[0])
	}
	p.Time, p.Clock = rec.time, s.clock
	p.Data, p.WireLen = rec.data, rec.wireLen
	p.Link, p.Iface = rec.link, rec.iface
	s.decoder.Decode(p)
	o.frames[p.Disposition]++
	o.octets += uint64(len(p.Data))
	if len(p.Data) < p.WireLen {
		o.cut++
	}
	if len(batches) > 1 {
		worker := int(p.Shard) % len(batches)
		batches[worker] = append(batches[worker], *p)
	}
}

// extend makes the slice one longer, and returns its last element as it was
// when the slice last had it.
func extend(packets *[]capture.Packet) *capture.Packet {
	n := len(*packets)
	if n == cap(*packets) {
		*packets = append(*packets, capture.Packet{})
	} else {
		*packets = (*packets)[:n+1]
	}
	return &(*packets)[n]
}

// flush delivers the round and enters it into the books.
func (o *outlet) flush() {
	s := o.source
	var received uint64
	for i, n := range o.frames {
		received += n
		s.stats.frames[i].Add(n)
	}
	s.stats.received.Add(received)
	s.stats.octets.Add(o.octets)
	s.stats.cut.Add(o.cut)
	s.stats.backwards.Add(o.backwards)
	o.octets, o.cut, o.backwards, o.frames = 0, 0, 0, [capture.Dispositions]uint64{}
	o.round.datagrams = s.publishFragments()
	o.round.clock = s.clock
	o.crew.deliver(o.round)
	s.progress()
}
