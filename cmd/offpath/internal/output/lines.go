// Package output writes the JSON Lines of transactions, findings and verdicts
// to files and to standard output.
//
// A [Lines] is used by one goroutine at a time. Its memory is one buffer. The
// first error stays and is returned by Close, so a full disk is reported, not
// hidden; writes after it are dropped.
package output

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// bufferSize is how much is gathered before it is written, octets.
const bufferSize = 256 << 10

// Standard is the path that means standard output.
const Standard = "-"

// Lines is one output of JSON Lines.
type Lines struct {
	name string
	path string // "" for standard output
	w    io.Writer
	file *os.File
	buf  []byte
	err  error
}

// Create opens path for writing from its start; "-" is stdout.
func Create(path string, stdout io.Writer) (*Lines, error) {
	if path == Standard {
		return &Lines{name: "standard output", w: stdout}, nil
	}
	return open(path, false)
}

// Append opens path for adding to its end.
func Append(path string) (*Lines, error) { return open(path, true) }

func open(path string, appending bool) (*Lines, error) {
	mode := os.O_TRUNC
	if appending {
		mode = os.O_APPEND
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|mode, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open output: %w", err)
	}
	return &Lines{name: path, path: path, w: f, file: f}, nil
}

// Add writes a line, which it copies. A nil Lines drops it.
func (l *Lines) Add(line []byte) {
	if l == nil || l.err != nil {
		return
	}
	l.buf = append(l.buf, line...)
	l.added()
}

// added writes what was gathered if it is enough.
func (l *Lines) added() {
	if len(l.buf) >= bufferSize {
		l.Flush()
	}
}

// Flush writes what was gathered.
func (l *Lines) Flush() {
	if l == nil || len(l.buf) == 0 {
		return
	}
	if l.err == nil {
		if _, err := l.w.Write(l.buf); err != nil {
			l.err = fmt.Errorf("write output to %s: %w", l.name, cause(err))
		}
	}
	l.buf = l.buf[:0]
}

// cause drops the path that an *os.PathError repeats.
func cause(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// Err is the first error so far.
func (l *Lines) Err() error {
	if l == nil {
		return nil
	}
	return l.err
}

// Reopen lets go of a file that was moved away (by a log rotation) and opens
// its path anew; it also ends an error.
func (l *Lines) Reopen() error {
	if l == nil || l.path == "" {
		return nil
	}
	l.Flush()
	fresh, err := open(l.path, true)
	if err != nil {
		return err
	}
	l.file.Close()
	l.w, l.file, l.err = fresh.w, fresh.file, nil
	return nil
}

// Close flushes, closes and returns the first error.
func (l *Lines) Close() error {
	if l == nil {
		return nil
	}
	l.Flush()
	if l.file != nil {
		if err := l.file.Close(); err != nil && l.err == nil {
			l.err = fmt.Errorf("close output %s: %w", l.name, cause(err))
		}
	}
	return l.err
}
