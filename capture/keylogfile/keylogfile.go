// Package keylogfile follows a file of TLS secrets (SSLKEYLOGFILE) while other
// programs write to it.
//
// Follower.Poll hands all whole lines that are new to a function, in order; Run
// polls until it is told to stop. A line that is not ended waits for its rest. A
// file that was cut begins again, and one that was replaced (rotated) is read to
// its end before the new one is. What lines mean is not looked at. It lives in
// wall time, as the file does.
//
// A Follower belongs to one goroutine. It holds at most one read's worth of octets
// and one line; a line longer than maxLine is passed over and counted.
package keylogfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

const (
	maxLine  = 16 << 10 // octets; a line of a key log has some 200
	readSize = 64 << 10
)

// ErrNotRegular: the path is no regular file, and can't be read again.
var ErrNotRegular = errors.New("not a regular file")

// Stats are a Follower's books.
type Stats struct {
	Octets    uint64 // read
	LongLines uint64 // passed over
	Restarts  uint64 // times that the file was cut or replaced
}

// Follower reads what is added to a file.
type Follower struct {
	path  string
	lines func(lines []byte)

	file   *os.File // nil: not open
	offset int64
	buf    []byte // read and not handed on: the beginning of a line
	skip   bool   // inside a line that is too long
	stats  Stats
}

// New returns a Follower of the file at path, which need not be there yet. What
// lines gets is valid until it returns.
func New(path string, lines func(lines []byte)) *Follower {
	return &Follower{path: path, lines: lines, buf: make([]byte, 0, readSize)}
}

// Stats are the books until now.
func (f *Follower) Stats() Stats { return f.stats }

// Poll hands on what is new. That the file is not there (fs.ErrNotExist), or can't
// be read, is an error; the next Poll tries again.
func (f *Follower) Poll() error {
	if f.file != nil {
		if err := f.read(); err != nil {
			return err
		}
	}
	now, err := os.Stat(f.path)
	if err != nil {
		return fmt.Errorf("key log: %w", err)
	}
	if f.file != nil {
		open, err := f.file.Stat()
		if err != nil {
			return fmt.Errorf("key log: %w", err)
		}
		switch {
		case !os.SameFile(open, now):
			f.stats.Restarts++
			f.flush()
			f.file.Close()
			f.file = nil
		case now.Size() < f.offset:
			f.stats.Restarts++
			f.offset, f.buf, f.skip = 0, f.buf[:0], false
		default:
			return nil
		}
	}
	if f.file == nil {
		if !now.Mode().IsRegular() {
			return fmt.Errorf("key log %s: %w", f.path, ErrNotRegular)
		}
		if f.file, err = os.Open(f.path); err != nil {
			f.file = nil
			return fmt.Errorf("key log: %w", err)
		}
		f.offset = 0
	}
	return f.read()
}

// read hands on the whole lines up to the end of the file that is open.
func (f *Follower) read() error {
	for {
		n, err := f.file.ReadAt(f.buf[len(f.buf):cap(f.buf)], f.offset)
		f.buf = f.buf[:len(f.buf)+n]
		f.offset += int64(n)
		f.stats.Octets += uint64(n)
		f.whole()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("key log: %w", err)
		}
	}
}

// whole hands on the whole lines that are held.
func (f *Follower) whole() {
	rest := f.buf
	if f.skip {
		end := bytes.IndexByte(rest, '\n') + 1
		if end == 0 {
			f.buf = f.buf[:0]
			return
		}
		rest, f.skip = rest[end:], false
	}
	if end := bytes.LastIndexByte(rest, '\n') + 1; end > 0 {
		f.lines(rest[:end])
		rest = rest[end:]
	}
	if len(rest) > maxLine {
		f.stats.LongLines++
		f.skip, rest = true, nil
	}
	f.buf = f.buf[:copy(f.buf[:cap(f.buf)], rest)]
}

// flush hands on the line that has no end.
func (f *Follower) flush() {
	if len(f.buf) > 0 && !f.skip {
		f.lines(f.buf)
	}
	f.buf, f.skip = f.buf[:0], false
}

// Run polls at the interval given until ctx is done. The outcome of each poll that
// differs from the one before goes to report, if there is one: nil where the file
// is being read.
func (f *Follower) Run(ctx context.Context, interval time.Duration, report func(error)) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	last := "-"
	for {
		err := f.Poll()
		if now := fmt.Sprint(err); now != last && report != nil {
			report(err)
			last = now
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Close hands on a last line that has no end, and closes the file.
func (f *Follower) Close() error {
	f.flush()
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}
