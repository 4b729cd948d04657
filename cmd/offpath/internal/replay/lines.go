package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync/atomic"

	"offpath/capture"
	"offpath/cmd/offpath/internal/compressed"
	"offpath/cmd/offpath/internal/wiring"
	"offpath/reassembly"
	"offpath/reassembly/jsonl"
)

// lineBatch is how many transactions are fed at once.
const lineBatch = 512

// lines is input of files of transactions, merged into one order.
type lines struct {
	files    []*lineFile
	window   Window
	pace     pace
	progress *progress
	total    int64        // octets of all files
	done     atomic.Int64 // octets read
}

// lineFile is one file of transactions and the next transaction in it.
type lineFile struct {
	path   string
	close  func()
	reader *jsonl.Reader
	offset *atomic.Int64           // octets of content read
	next   *reassembly.Transaction // nil at the end
	read   int                     // transactions until now
}

// counted counts what is read from a file.
type counted struct {
	io.Reader
	n *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func openLines(o *Options, p *progress) (*lines, error) {
	if o.Detail != (wiring.Detail{}) || o.Cleartext {
		return nil, &InputError{errors.New("--detail and --cleartext need packets; in files of transactions these things are settled")}
	}
	l := &lines{window: o.Window, pace: pace{speed: o.Speed}, progress: p}
	for _, path := range o.Inputs {
		file, err := l.open(path)
		if err != nil {
			l.closeAll()
			return nil, &InputError{err}
		}
		l.files = append(l.files, file)
	}
	return l, nil
}

func (l *lines) open(path string) (*lineFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a folder, not a file of transactions", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	l.total += info.Size()
	content, release, err := compressed.NewReader(counted{f, &l.done})
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	file := &lineFile{path: path, offset: new(atomic.Int64), close: func() { release(); f.Close() }}
	file.reader = jsonl.NewReader(counted{content, file.offset})
	return file, nil
}

func (l *lines) closeAll() {
	for _, f := range l.files {
		f.close()
	}
}

func (l *lines) stats() *capture.Stats { return nil }

func (l *lines) secured() (all, decrypted uint64) { return 0, 0 }

func (l *lines) losses() []loss { return nil }

// run merges the files by their next transactions.
func (l *lines) run(ctx context.Context, feed wiring.Feed) error {
	defer l.closeAll()
	var errs []error
	for _, f := range l.files {
		errs = append(errs, f.advance(l.window))
	}
	var batch []*reassembly.Transaction
	flush := func() {
		if len(batch) > 0 {
			feed(batch, batch[len(batch)-1].End)
			batch = nil
		}
		l.progress.show(l.done.Load(), l.total)
	}
	for ctx.Err() == nil {
		f := l.first()
		if f == nil {
			break
		}
		if l.pace.speed > 0 {
			flush()
			l.pace.wait(ctx, f.next.End)
		}
		if batch == nil {
			batch = make([]*reassembly.Transaction, 0, lineBatch)
		}
		batch = append(batch, f.next)
		if len(batch) == lineBatch {
			flush()
		}
		errs = append(errs, f.advance(l.window))
	}
	flush()
	return errors.Join(errs...)
}

// first is the file with the next transaction, nil when all are at their end.
func (l *lines) first() *lineFile {
	var least *lineFile
	for _, f := range l.files {
		if f.next != nil && (least == nil || reassembly.Less(f.next, least.next)) {
			least = f
		}
	}
	return least
}

// advance reads on to the next transaction in the window. What an earlier
// detection has noted on it is put aside.
func (f *lineFile) advance(w Window) error {
	for f.reader.Next() {
		f.read++
		if tx := f.reader.Transaction(); w.holds(tx) {
			tx.Annotation = reassembly.Annotation{}
			f.next = tx
			return nil
		}
	}
	f.next = nil
	return f.explain(f.reader.Err())
}

// explain tells damage from a file that never held transactions, and from one
// that could not be read.
func (f *lineFile) explain(err error) error {
	var line *jsonl.LineError
	var disk *fs.PathError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &disk):
		return fmt.Errorf("read transactions: %w", err)
	case !errors.As(err, &line):
		return &capture.DamageError{File: f.path, Offset: f.offset.Load(), Err: err}
	case f.read == 0 && line.Line == 1:
		return &InputError{fmt.Errorf("%s is no file of transactions: %w", f.path, err)}
	}
	return &capture.DamageError{File: f.path, Offset: line.Offset, Err: err}
}
