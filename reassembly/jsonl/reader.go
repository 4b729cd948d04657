package jsonl

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"offpath/reassembly"
	"offpath/reassembly/internal/jsonscan"
	"offpath/reassembly/internal/text"
)

// MaxLine is the longest line that is read, octets.
const MaxLine = 16 << 20

// ErrLineTooLong is in a LineError of a line longer than MaxLine.
var ErrLineTooLong = fmt.Errorf("longer than %d octets", MaxLine)

// LineError says that a line is no transaction.
type LineError struct {
	Line   int   // from 1
	Offset int64 // octets from the start of the input to the start of the line
	Err    error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

func (e *LineError) Unwrap() error { return e.Err }

// Reader reads transactions. Keys that it doesn't know are skipped, and so are
// empty lines and lines of another kind (those with event.action).
type Reader struct {
	in     *bufio.Reader
	line   []byte
	number int   // of the line at hand
	offset int64 // of its start
	next   int64 // of the start of the one after it
	failed error // of the input: nothing follows

	tx  *reassembly.Transaction
	err error

	// Of the line at hand.
	scan   jsonscan.Scanner
	text   text.Builder
	fault  error
	hasEnd bool
	token  bool // it says whether a token was issued
	start  bool
	action bool

	key, raw, value []byte   // scratch
	arena           []byte   // elements of a list
	items           [][]byte // views into arena
}

// NewReader returns a Reader of r.
func NewReader(r io.Reader) *Reader {
	return &Reader{in: bufio.NewReaderSize(r, 256<<10)}
}

// Next reads the next transaction. It returns false at the end of the input, if
// a line is no transaction, and if the input fails; Err tells which. After a
// *LineError it may be called again, to go on behind the bad line.
func (r *Reader) Next() bool {
	r.tx, r.err = nil, r.failed
	for r.err == nil {
		if !r.readLine() {
			return false
		}
		if tx, err := r.parse(); err != nil {
			r.err = &LineError{r.number, r.offset, err}
		} else if tx != nil {
			r.tx = tx
			return true
		}
	}
	return false
}

// Transaction returns what the last call of Next has read. It is the caller's.
func (r *Reader) Transaction() *reassembly.Transaction { return r.tx }

// Err returns why Next returned false: nil at the end of the input, a
// *LineError, or what reading the input failed with.
func (r *Reader) Err() error { return r.err }

// readLine reads the next line into r.line; false at the end and on failure.
func (r *Reader) readLine() bool {
	r.line = r.line[:0]
	r.offset = r.next
	tooLong := false
	for {
		part, err := r.in.ReadSlice('\n')
		r.next += int64(len(part))
		if tooLong = tooLong || len(r.line)+len(part) > MaxLine+1; tooLong {
			part, r.line = nil, r.line[:0]
		}
		r.line = append(r.line, part...)
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && r.next == r.offset:
			return false
		case err != nil && err != io.EOF:
			r.failed = fmt.Errorf("line %d: %w", r.number+1, err)
			r.err = r.failed
			return false
		}
		r.number++
		if tooLong {
			r.err = &LineError{r.number, r.offset, ErrLineTooLong}
			return false
		}
		return true
	}
}

var (
	errJSON     = errors.New("not a JSON object")
	errTrailing = errors.New("something behind the JSON object")
	errNoTime   = errors.New("no @timestamp")
)

// parse returns the transaction of r.line; nil if it holds none.
func (r *Reader) parse() (*reassembly.Transaction, error) {
	tx := blank()
	r.scan = jsonscan.New(r.line)
	r.fault, r.hasEnd, r.token, r.start, r.action = nil, false, false, false, false
	switch t, _ := r.scan.Next(); {
	case t == jsonscan.End && isSpace(r.line):
		return nil, nil
	case t != jsonscan.Object:
		return nil, errJSON
	}
	r.members(tx, (*Reader).top)
	r.text.Commit()
	switch {
	case r.fault != nil:
		return nil, r.fault
	case !r.scan.Whole():
		return nil, errTrailing
	case r.action:
		return nil, nil
	case !r.start:
		return nil, errNoTime
	}
	for _, at := range [...]*netip.AddrPort{&tx.Source, &tx.Destination} {
		if !at.Addr().IsValid() {
			*at = netip.AddrPort{} // a port without an address
		}
	}
	if !r.hasEnd {
		tx.End = tx.Start + max(tx.Duration, 0)
	}
	if issued := len(tx.Auth.SessionIssued); !r.token {
		tx.Auth.TokenIssued = issued > len(tx.Response.Signature.Cookies)
	} else if issued == 0 {
		tx.Auth.TokenIssued = false // it is one of the sessions, and there is none
	}
	return tx, nil
}

// blank returns a transaction of which nothing is known.
func blank() *reassembly.Transaction {
	tx := &reassembly.Transaction{Duration: reassembly.Unknown}
	tx.Request.BodyBytes, tx.Response.BodyBytes = reassembly.Unknown, reassembly.Unknown
	tx.Request.Signature.Length, tx.Response.Signature.Length = reassembly.Unknown, reassembly.Unknown
	tx.Request.Detail.DecodedBytes, tx.Response.Detail.DecodedBytes = reassembly.Unknown, reassembly.Unknown
	return tx
}

func isSpace(b []byte) bool {
	for _, c := range b {
		if !jsonscan.IsSpace(c) {
			return false
		}
	}
	return true
}
