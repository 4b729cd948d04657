package pcapfile

import (
	"context"
	"errors"
	"time"

	"offpath/capture"
)

// feed cuts the inputs into rounds of decoded packets, one input after the other.
type feed struct {
	source *Source
	ctx    context.Context
	left   []*input // that were not opened yet
	errs   []error  // what was wrong with inputs

	// Of the input at hand.
	src     *reader // nil between two
	scan    *scanner
	more    bool           // the buffer was scanned as far as it goes
	secrets []byte         // key log in front of the next packet
	wait    time.Duration  // until the next packet is due
	record  record         // escapes through the parser, so there is one for all
	packet  capture.Packet // the one at hand, on its way to one of several workers

	octets, cut, backwards uint64 // of the round
	frames                 [capture.Dispositions]uint64
}

// fill makes a round of what comes next, and waits before it until its first packet is
// due. It returns false when there is nothing more, or the context is done.
func (f *feed) fill(r *round) bool {
	for f.src == nil {
		if len(f.left) == 0 {
			return false
		}
		f.open()
	}
	if f.wait > 0 && sleep(f.ctx, f.wait) != nil || f.ctx.Err() != nil {
		return false
	}
	if f.more {
		f.scan.refill(r.buf)
	} else {
		f.scan.move(r.buf)
	}
	r.buf, r.secrets = f.scan.buf, f.secrets
	f.more, f.secrets, f.wait = false, nil, 0
	f.read(r)
	f.account(r)
	return true
}

// open opens the next input.
func (f *feed) open() {
	in := f.left[0]
	f.left = f.left[1:]
	src, err := in.open(f.ctx, f.source.opts.Stdin, &f.source.done)
	if err != nil {
		f.fail(err)
		return
	}
	f.src, f.scan, f.more = src, newScanner(in.path, src, f.source.intern), true
}

// close closes the input at hand.
func (f *feed) close() {
	if f.src != nil {
		f.src.Close()
		f.src, f.scan = nil, nil
	}
}

// fail takes note of what is wrong with an input. That the context is done is no error,
// but the end of all.
func (f *feed) fail(err error) {
	if f.ctx.Err() != nil && errors.Is(err, f.ctx.Err()) {
		f.left = nil
		return
	}
	var damage *capture.DamageError
	if errors.As(err, &damage) {
		f.source.stats.damaged.Add(1)
	}
	f.errs = append(f.errs, err)
}

// read decodes packets into the round until it has to end: where the buffer does, or
// the input, before key logs and before packets that are not due yet.
func (f *feed) read(r *round) {
	opts, rec := &f.source.opts, &f.record
	for {
		before := f.scan.pos
		switch f.scan.next(rec) {
		case scanRecord:
			switch rec.kind {
			case recordPacket:
				if rec.time < opts.From || rec.time > opts.To {
					continue
				}
				if f.wait = f.source.pace.wait(max(f.source.clock, rec.time)); f.wait > 0 {
					f.scan.unread(before)
					return
				}
				f.add(r, rec)
			case recordSecrets:
				// They are for the packets behind them, whatever the round.
				f.secrets = append([]byte(nil), rec.data...)
				return
			}
		case scanMore:
			f.more = true
			return
		case scanEnd:
			err := f.scan.err()
			f.close()
			if err != nil {
				f.fail(err)
			}
			return
		}
	}
}

// add decodes a frame into its worker's batch.
func (f *feed) add(r *round, rec *record) {
	s := f.source
	if !s.started || rec.time >= s.clock {
		s.clock, s.started = rec.time, true
	} else {
		f.backwards++
	}
	batches := r.packets
	p := &f.packet
	if len(batches) == 1 {
		p = extend(&batches[0])
	}
	p.Time, p.Clock = rec.time, s.clock
	p.Data, p.WireLen = rec.data, rec.wireLen
	p.Link, p.Iface = rec.link, rec.iface
	s.decoder.Decode(p)
	f.frames[p.Disposition]++
	f.octets += uint64(len(p.Data))
	if len(p.Data) < p.WireLen {
		f.cut++
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

// account enters the round into the books.
func (f *feed) account(r *round) {
	s := f.source
	var received uint64
	for i, n := range f.frames {
		received += n
		s.stats.frames[i].Add(n)
	}
	s.stats.received.Add(received)
	s.stats.octets.Add(f.octets)
	s.stats.cut.Add(f.cut)
	s.stats.backwards.Add(f.backwards)
	f.octets, f.cut, f.backwards, f.frames = 0, 0, 0, [capture.Dispositions]uint64{}
	r.datagrams = s.publishFragments()
	r.clock = s.clock
	s.progress()
}
