package evidence

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// Limits of a Store.
const (
	segmentBytes  = 16 << 20 // size at which a file is ended
	segmentsKept  = 8        // with the one that is written; then the oldest is removed
	bufferedBytes = 64 << 10 // that wait at most for Flush
)

// Store keeps the latest lines of findings and verdicts, as they were written,
// in files of a folder: 00000001.jsonl and so on. When the newest has reached
// its size the next is begun, and the oldest of too many is removed.
type Store struct {
	folder  string
	segment int64 // octets at which a file is ended

	mu     sync.Mutex
	buf    []byte
	lines  uint64 // in buf
	file   *os.File
	number int // of file
	size   int64
	stats  Stats
	err    error // of the last writing

	finding sync.Mutex // held by one Find at a time, each of which reads everything
}

// Stats are the books of a Store.
type Stats struct {
	Lines uint64 // added
	Lost  uint64 // of them, those that could not be written
}

// Open makes the folder, with mode 0700, unless it is there, and goes on with
// what it holds.
func Open(folder string) (*Store, error) { return open(folder, segmentBytes) }

func open(folder string, segment int64) (*Store, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("make folder of evidence: %w", err)
	}
	s := &Store{folder: folder, segment: segment, number: 1}
	if list := s.segments(); len(list) > 0 {
		s.number = list[len(list)-1]
	}
	if err := s.open(); err != nil {
		return nil, err
	}
	if s.size > 0 { // a line that a crash has cut must not swallow the next
		s.buf = append(s.buf, '\n')
	}
	return s, nil
}

// segments are the numbers of the files, the oldest first.
func (s *Store) segments() []int {
	var list []int
	names, _ := filepath.Glob(filepath.Join(s.folder, "*.jsonl")) // the pattern is a good one
	for _, name := range names {
		var n int
		if _, err := fmt.Sscanf(filepath.Base(name), "%08d.jsonl", &n); err == nil && name == s.path(n) {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return list
}

func (s *Store) path(number int) string {
	return filepath.Join(s.folder, fmt.Sprintf("%08d.jsonl", number))
}

func (s *Store) open() error {
	file, err := os.OpenFile(s.path(s.number), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open evidence: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("open evidence: %w", errors.Join(err, file.Close()))
	}
	s.file, s.size = file, info.Size()
	return nil
}

// Add keeps a line, which ends with its line feed and is copied.
func (s *Store) Add(line []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Lines++
	s.lines++
	s.buf = append(s.buf, line...)
	if len(s.buf) >= bufferedBytes {
		s.flush()
	}
}

// Flush writes what was added. An error stays until a later Flush goes well; the
// lines are lost and counted.
func (s *Store) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush()
	return s.err
}

func (s *Store) flush() {
	if len(s.buf) == 0 {
		return
	}
	if s.err = s.write(); s.err != nil {
		s.stats.Lost += s.lines
	}
	s.buf, s.lines = s.buf[:0], 0
}

func (s *Store) write() error {
	if s.file == nil || s.size >= s.segment {
		if err := s.turn(); err != nil {
			return err
		}
	}
	n, err := s.file.Write(s.buf)
	if err != nil {
		// What is lost is all of it: half a line would swallow the next.
		if s.file.Truncate(s.size) != nil {
			s.size = s.segment // begin another file
		}
		return fmt.Errorf("write evidence: %w", err)
	}
	s.size += int64(n)
	return nil
}

// turn begins the next file.
func (s *Store) turn() error {
	if s.file != nil {
		err := s.file.Close()
		s.file = nil
		s.number++
		if err != nil {
			return fmt.Errorf("end a file of evidence: %w", err)
		}
	}
	if err := s.open(); err != nil {
		return err
	}
	list := s.segments()
	for ; len(list) > segmentsKept; list = list[1:] {
		if err := os.Remove(s.path(list[0])); err != nil {
			return fmt.Errorf("remove old evidence: %w", err)
		}
	}
	return nil
}

// Each calls do with every line that is kept, the oldest first.
func (s *Store) Each(do func(line []byte)) error {
	return s.source()(func(line []byte, _ int64) error { do(line); return nil })
}

// source reads all files as they are now.
func (s *Store) source() Source {
	return func(line func([]byte, int64) error) error {
		s.mu.Lock()
		s.flush()
		list := s.segments()
		s.mu.Unlock()
		for _, n := range list {
			err := File(s.path(n))(line)
			if errors.Is(err, fs.ErrNotExist) { // it made room meanwhile
				continue
			}
			var path *fs.PathError
			if errors.As(err, &path) {
				return fmt.Errorf("read evidence: %w", err)
			} // what a crash has cut is passed over
		}
		return nil
	}
}

// Find is [Find] among what is kept.
func (s *Store) Find(id string) (*Account, error) {
	s.finding.Lock()
	defer s.finding.Unlock()
	return Find(id, s.source())
}

// Stats are the books.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Close writes what was added.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush()
	err := s.err
	if s.file != nil {
		err = errors.Join(err, s.file.Sync(), s.file.Close())
		s.file = nil
	}
	return err
}
