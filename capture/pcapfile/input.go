package pcapfile

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"offpath/capture"
	"offpath/capture/pcapfile/internal/fdwait"
)

// stdinName is how standard input is called among the inputs.
const stdinName = "-"

// maxWindow bounds the memory that a Zstandard frame may ask for; it is what
// the zstd command accepts by default.
const maxWindow = 128 << 20

// input is one file, or standard input.
type input struct {
	path   string
	size   int64 // octets on disk; 0 if unknown
	stream bool  // no regular file: can be read only once, and may keep us waiting
}

// reader is an opened input.
type reader struct {
	io.Reader // the content, decompressed
	// waits says that a Read may take until more data comes, so that what is
	// there should not wait for it.
	waits  bool
	raw    *rawReader
	closes []func() error
}

// Close frees what the reader holds; nothing is left to fail.
func (r *reader) Close() {
	for i := len(r.closes) - 1; i >= 0; i-- {
		_ = r.closes[i]()
	}
}

// rawReader counts the octets read from an input, and keeps its error apart
// from those of the decompressor above it.
type rawReader struct {
	io.Reader
	count *atomic.Int64
	err   error
}

func (r *rawReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.count.Add(int64(n))
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// open opens the input. Octets read from it are added to count.
func (in *input) open(ctx context.Context, stdin io.Reader, count *atomic.Int64) (*reader, error) {
	r := &reader{}
	var source io.Reader
	if in.path == stdinName {
		source = stdin
	} else {
		f, err := os.Open(in.path)
		if err != nil {
			return nil, err
		}
		r.closes = append(r.closes, f.Close)
		source = f
	}
	if f, ok := source.(*os.File); ok && in.stream {
		wait, err := fdwait.NewReader(ctx, f)
		if err != nil {
			r.Close()
			return nil, err
		}
		r.closes = append(r.closes, wait.Close)
		source = wait
	}
	r.waits = in.stream
	r.raw = &rawReader{Reader: source, count: count}
	if err := r.decompress(); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// decompress puts the decompressor that the content asks for above raw. An
// error of the decompressor comes from the first Read, as any other would.
func (r *reader) decompress() error {
	head := make([]byte, 4)
	n, err := io.ReadFull(r.raw, head)
	if r.raw.err != nil {
		return r.raw.err
	}
	r.Reader = &prefixed{head: head[:n], rest: r.raw}
	if err != nil {
		return nil // too short for anything
	}
	switch {
	case head[0] == 0x1f && head[1] == 0x8b: // RFC 1952
		z, err := gzip.NewReader(bufio.NewReaderSize(r.Reader, 64<<10))
		if err != nil {
			r.Reader = failing{err}
			return nil
		}
		r.Reader = z
	case string(head) == "\x28\xb5\x2f\xfd", head[0]&0xf0 == 0x50 && string(head[1:]) == "\x2a\x4d\x18": // RFC 8878
		z, err := zstd.NewReader(r.Reader, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1))
		if err != nil {
			r.Reader = failing{err}
			return nil
		}
		r.closes = append(r.closes, func() error { z.Close(); return nil })
		r.Reader = z
	default:
		return nil
	}
	r.waits = false
	return nil
}

// prefixed gives head and then rest; unlike io.MultiReader it ends with the
// head when that is used up.
type prefixed struct {
	head []byte
	rest io.Reader
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.head) > 0 {
		n := copy(b, p.head)
		p.head = p.head[n:]
		return n, nil
	}
	return p.rest.Read(b)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// resolve turns the paths that a user named into inputs, in reading order. Of
// a folder's files, those that are no captures are returned as skipped.
func resolve(paths []string) (inputs []*input, skipped []string, err error) {
	var errs []error
	seenStdin := false
	for _, path := range paths {
		if path == stdinName {
			if seenStdin {
				errs = append(errs, errors.New("standard input (-) is named twice"))
			}
			seenStdin = true
			inputs = append(inputs, &input{path: path, stream: true})
			continue
		}
		info, err := os.Stat(path)
		switch {
		case err != nil:
			errs = append(errs, err)
		case info.IsDir():
			found, others, err := folder(path)
			inputs, skipped = append(inputs, found...), append(skipped, others...)
			if err != nil {
				errs = append(errs, err)
			}
		case !info.Mode().IsRegular():
			inputs = append(inputs, &input{path: path, stream: true})
		default:
			in := &input{path: path, size: info.Size()}
			if _, err := in.firstTime(); err != nil {
				errs = append(errs, err)
			}
			inputs = append(inputs, in)
		}
	}
	return inputs, skipped, errors.Join(errs...)
}

// folder returns the captures that lie directly in a folder, in order of their
// first packet's time and then of their names, and what else lies there. A
// capture without packets comes first.
func folder(path string) (inputs []*input, skipped []string, err error) {
	entries, err := os.ReadDir(path) // sorted by name
	if err != nil {
		return nil, nil, err
	}
	var errs []error
	times := map[*input]int64{}
	for _, entry := range entries {
		name := filepath.Join(path, entry.Name())
		info, err := os.Stat(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !info.Mode().IsRegular() {
			skipped = append(skipped, name)
			continue
		}
		in := &input{path: name, size: info.Size()}
		t, err := in.firstTime()
		switch {
		case errors.Is(err, ErrNotCapture) || errors.Is(err, ErrEmpty):
			skipped = append(skipped, name)
		case err != nil:
			errs = append(errs, err)
		default:
			times[in] = t
			inputs = append(inputs, in)
		}
	}
	if len(inputs) == 0 && len(errs) == 0 {
		errs = append(errs, fmt.Errorf("%s: %w", path, ErrNoCaptures))
	}
	sort.SliceStable(inputs, func(i, j int) bool { return times[inputs[i]] < times[inputs[j]] })
	return inputs, skipped, errors.Join(errs...)
}

// firstTime returns the time of the input's first packet, or 0 if there is
// none to be read: damage isn't its subject. It fails if the input can't be
// opened or is no capture.
func (in *input) firstTime() (int64, error) {
	if in.size == 0 {
		return 0, fmt.Errorf("%s: %w", in.path, ErrEmpty)
	}
	var count atomic.Int64
	r, err := in.open(context.Background(), nil, &count)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	s := newScanner(in.path, r, func(string, capture.LinkType) uint16 { return 0 })
	s.refill(make([]byte, 0, 64<<10))
	var rec record
	for {
		switch s.next(&rec) {
		case scanRecord:
			if rec.kind == recordPacket {
				return rec.time, nil
			}
		case scanMore:
			s.refill(s.buf)
		case scanEnd:
			var damage *capture.DamageError
			if err := s.err(); err != nil && !errors.As(err, &damage) {
				return 0, err
			}
			return 0, nil
		}
	}
}
