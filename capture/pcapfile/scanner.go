package pcapfile

import (
	"errors"
	"fmt"
	"io"

	"offpath/capture"
)

// scanner cuts the content of one input into records. It reads into buffers
// that its caller provides, so that records can stay where they were read.
type scanner struct {
	name   string
	src    *reader
	intern interner
	parser parser // nil until the format is known

	buf      []byte // read and not yet given back by refill
	pos      int    // what of buf was scanned
	offset   int64  // of buf in the content
	readErr  error  // what ended reading: io.EOF or worse
	parseErr error  // what ended scanning
}

func newScanner(name string, src *reader, intern interner) *scanner {
	return &scanner{name: name, src: src, intern: intern}
}

type scanResult uint8

const (
	scanRecord scanResult = iota // a record was read
	scanMore                     // refill, then call again
	scanEnd                      // nothing more; err says whether that is right
)

// next reads one record, whose data is a view into the buffer given last.
func (s *scanner) next(rec *record) scanResult {
	if s.parser == nil && !s.sniff() {
		return s.short()
	}
	n, err := s.parser.next(s.buf[s.pos:], rec)
	if err != nil {
		s.parseErr = err
		return scanEnd
	}
	if n == 0 {
		return s.short()
	}
	s.pos += n
	return scanRecord
}

// short says what follows when the buffer holds no whole record.
func (s *scanner) short() scanResult {
	if s.parseErr != nil || s.readErr != nil {
		return scanEnd
	}
	return scanMore
}

func (s *scanner) sniff() bool {
	if len(s.buf) == 0 {
		return false
	}
	s.parser, s.parseErr = sniff(s.buf, s.intern)
	return s.parser != nil
}

// unread puts back the record read last, which began at pos.
func (s *scanner) unread(pos int) { s.pos = pos }

// move goes on in another buffer, to whose beginning it copies what was not
// scanned; if that would fill it, in a new one of twice that length. The
// records read until now stay in the old one.
func (s *scanner) move(buf []byte) {
	s.offset += int64(s.pos)
	rest := s.buf[s.pos:]
	if len(rest) >= cap(buf) {
		buf = make([]byte, 0, 2*len(rest))
	}
	s.buf, s.pos = buf[:copy(buf[:cap(buf)], rest)], 0
}

// refill moves to buf and reads into it: all that it holds or, if reads may
// have to wait for data, what is there.
func (s *scanner) refill(buf []byte) {
	s.move(buf)
	for idle := 0; len(s.buf) < cap(s.buf) && s.readErr == nil; {
		n, err := s.src.Read(s.buf[len(s.buf):cap(s.buf)])
		s.buf = s.buf[:len(s.buf)+n]
		s.readErr = err
		if n > 0 && s.src.waits {
			return
		}
		if idle++; n > 0 {
			idle = 0
		} else if idle > 100 {
			s.readErr = io.ErrNoProgress
		}
	}
}

// err says why scanning ended: nil at the proper end of the content, a
// *capture.DamageError, ErrEmpty, ErrNotCapture, or the error of the read.
func (s *scanner) err() error {
	if s.parseErr == nil && s.src.raw.err != nil {
		return fmt.Errorf("read %s: %w", s.name, s.src.raw.err)
	}
	rest := len(s.buf) - s.pos
	at := s.offset + int64(s.pos)
	switch {
	case errors.Is(s.parseErr, ErrNotCapture):
		return fmt.Errorf("%s: %w", s.name, ErrNotCapture)
	case s.parseErr != nil:
		return &capture.DamageError{File: s.name, Offset: at, Err: s.parseErr}
	case s.readErr != io.EOF:
		return &capture.DamageError{File: s.name, Offset: at, Err: fmt.Errorf("decompress: %w", s.readErr)}
	case at == 0 && rest == 0:
		return fmt.Errorf("%s: %w", s.name, ErrEmpty)
	case rest > 0:
		return &capture.DamageError{File: s.name, Offset: at, Err: errCutShort}
	}
	return nil
}
