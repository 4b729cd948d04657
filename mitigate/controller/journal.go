package controller

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"offpath/detect"
	"offpath/detect/jsonl"
	"offpath/mitigate"
)

const (
	journalFile = "verdicts.jsonl"
	// journalSlack is how many lines the journal may have beyond twice the
	// number of verdicts before it is written anew.
	journalSlack = 10_000
	// maxJournalLine is the most octets of a line that is read back.
	maxJournalLine = 1 << 20
)

// journal remembers the active verdicts across a restart: JSON Lines, a later
// line with the same id replacing the earlier. It is written by the clerk.
type journal struct {
	mu      sync.Mutex
	changes map[string]journalRecord // by id; not yet written

	path  string
	file  *os.File
	lines int // in the file
	live  int // lines when it was last written anew
	// broken says that the last writing failed: the next one writes all.
	broken bool
}

// journalRecord is a verdict with what the controller knows of it.
type journalRecord struct {
	ID      string          `json:"id"`
	Expires int64           `json:"expires,omitempty"` // until when a lifted verdict is remembered, ns since the epoch
	Since   int64           `json:"since,omitempty"`   // when it first arrived, ns since the epoch
	Who     string          `json:"who,omitempty"`
	Verdict json.RawMessage `json:"verdict,omitempty"` // the contract's line; without it the verdict is no longer active
	Lifted  json.RawMessage `json:"lifted,omitempty"`  // such a line of a lifted verdict, for its subject
	Rail    string          `json:"rail,omitempty"`    // beyond which it waits for approval; "": it does not wait
	Reason  string          `json:"reason,omitempty"`
}

func newJournalRecord(it *item) journalRecord {
	return journalRecord{
		ID:      it.verdict.ID,
		Since:   it.since.UnixNano(),
		Who:     it.who,
		Verdict: jsonl.AppendVerdict(make([]byte, 0, mostLines), &it.verdict),
	}
}

// mostLines is what most verdicts take as a line of JSON, octets.
const mostLines = 512

// newLiftedRecord is of a verdict that was lifted, until it would have ended.
func newLiftedRecord(id mitigate.ID, of detect.Subject, until int64) journalRecord {
	v := detect.Verdict{ID: id.String(), Action: detect.ActionLift, Subject: of, Expires: until}
	return journalRecord{ID: v.ID, Expires: until, Lifted: jsonl.AppendVerdict(nil, &v)}
}

// journalRecords are what a journal written anew holds: the active verdicts,
// and those lifted that a late copy could bring back.
func (c *Controller) journalRecords() iter.Seq[journalRecord] {
	c.mu.Lock()
	lifted := slices.Clone(c.lifted.order)
	var waiting []journalRecord
	for _, id := range slices.Sorted(maps.Keys(c.waiting)) {
		waiting = append(waiting, newWaitingRecord(c.waiting[id]))
	}
	c.mu.Unlock()
	items := c.items()
	slices.SortFunc(items, func(a, b *item) int { return cmp.Compare(a.entry.ID, b.entry.ID) })
	return func(yield func(journalRecord) bool) {
		for _, t := range lifted {
			if !yield(newLiftedRecord(t.id, t.subject, t.expires)) {
				return
			}
		}
		for _, it := range items {
			if !yield(newJournalRecord(it)) {
				return
			}
		}
		for _, r := range waiting {
			if !yield(r) {
				return
			}
		}
	}
}

// readJournal reads the journal; a line that is damaged (the last one, after a
// crash) is counted and passed over.
func readJournal(folder string) (records []journalRecord, damaged int, err error) {
	file, err := os.Open(filepath.Join(folder, journalFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read active verdicts: %w", err)
	}
	defer file.Close()
	latest := make(map[string]int)
	lines := bufio.NewReaderSize(file, 64<<10)
	for {
		line, err := readLine(lines)
		if err != nil && err != io.EOF {
			return nil, 0, fmt.Errorf("read active verdicts: %w", err)
		}
		var r journalRecord
		switch {
		case len(line) == 0 && err == io.EOF:
			return records, damaged, nil
		case json.Unmarshal(line, &r) != nil || r.ID == "":
			damaged++
		default:
			if i, ok := latest[r.ID]; ok {
				records[i] = r
			} else {
				latest[r.ID] = len(records)
				records = append(records, r)
			}
		}
		if err == io.EOF {
			return records, damaged, nil
		}
	}
}

// readLine returns the next line, of which it keeps at most maxJournalLine
// octets.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line) <= maxJournalLine {
			line = append(line, part...)
		}
		if err != bufio.ErrBufferFull {
			return bytes.TrimSuffix(line, []byte("\n")), err
		}
	}
}

// openJournal writes the journal anew.
func openJournal(folder string, records iter.Seq[journalRecord]) (*journal, error) {
	j := &journal{changes: make(map[string]journalRecord), path: filepath.Join(folder, journalFile)}
	if err := j.rewrite(records); err != nil {
		return nil, err
	}
	return j, nil
}

func newWaitingRecord(w *waitingItem) journalRecord {
	r := newJournalRecord(&w.item)
	r.Rail, r.Reason = w.rail.Rail, w.rail.Reason
	return r
}

// put, wait, drop and lift note a change. They do nothing without a journal.
func (j *journal) put(it *item) {
	if j != nil {
		j.note(newJournalRecord(it))
	}
}

func (j *journal) wait(w *waitingItem) {
	if j != nil {
		j.note(newWaitingRecord(w))
	}
}

func (j *journal) drop(it *item) {
	if j != nil {
		j.note(journalRecord{ID: it.verdict.ID})
	}
}

func (j *journal) lift(it *item, until int64, who string) {
	if j != nil {
		r := newLiftedRecord(it.entry.ID, it.entry.Subject, until)
		r.Who = who
		j.note(r)
	}
}

func (j *journal) note(r journalRecord) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.changes[r.ID] = r
}

// flush appends the changes, or writes the journal anew with what all returns
// when it has grown too long.
func (j *journal) flush(all func() iter.Seq[journalRecord]) error {
	j.mu.Lock()
	changes := j.changes
	if len(changes) > 0 {
		j.changes = make(map[string]journalRecord)
	}
	j.mu.Unlock()
	if len(changes) == 0 && !j.broken {
		return nil
	}
	// Whatever changes from here on is noted again, so nothing is lost
	// between the two.
	if j.broken || j.lines+len(changes) > 2*j.live+journalSlack {
		return j.rewrite(all())
	}
	if err := writeRecords(j.file, maps.Values(changes)); err != nil {
		j.broken = true
		return fmt.Errorf("write active verdicts: %w", err)
	}
	j.lines += len(changes)
	return nil
}

// writeRecords writes records, a line for each.
func writeRecords(file io.Writer, records iter.Seq[journalRecord]) error {
	lines := bufio.NewWriterSize(file, 1<<16)
	encoder := json.NewEncoder(lines)
	for r := range records {
		if err := encoder.Encode(&r); err != nil {
			return err
		}
	}
	return lines.Flush()
}

func (j *journal) rewrite(records iter.Seq[journalRecord]) error {
	j.broken = true
	if j.file != nil {
		j.file.Close()
		j.file = nil
	}
	written := 0
	counted := func(yield func(journalRecord) bool) {
		for r := range records {
			written++
			if !yield(r) {
				return
			}
		}
	}
	err := replaceFile(j.path, func(file io.Writer) error { return writeRecords(file, counted) })
	if err != nil {
		return fmt.Errorf("write active verdicts: %w", err)
	}
	file, err := os.OpenFile(j.path, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open active verdicts: %w", err)
	}
	j.file, j.lines, j.live = file, written, written
	j.broken = false
	return nil
}

func (j *journal) close() error {
	if j.file == nil {
		return nil
	}
	err := errors.Join(j.file.Sync(), j.file.Close())
	j.file = nil
	if err != nil {
		return fmt.Errorf("close active verdicts: %w", err)
	}
	return nil
}
