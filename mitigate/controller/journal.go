package controller

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"offpath/detect/jsonl"
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
	Rail    string          `json:"rail,omitempty"`    // beyond which it waits for approval; "": it does not wait
	Reason  string          `json:"reason,omitempty"`
}

func newJournalRecord(it *item) journalRecord {
	return journalRecord{
		ID:      it.verdict.ID,
		Since:   it.since.UnixNano(),
		Who:     it.who,
		Verdict: jsonl.AppendVerdict(nil, &it.verdict),
	}
}

// journalRecords are what a journal written anew holds: the active verdicts,
// and those lifted that a late copy could bring back.
func (c *Controller) journalRecords() []journalRecord {
	var records []journalRecord
	for _, t := range c.lifted.order {
		records = append(records, journalRecord{ID: t.id.String(), Expires: t.expires})
	}
	for _, it := range c.items() {
		records = append(records, newJournalRecord(it))
	}
	for _, id := range slices.Sorted(maps.Keys(c.waiting)) {
		records = append(records, newWaitingRecord(c.waiting[id]))
	}
	return records
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
func openJournal(folder string, records []journalRecord) (*journal, error) {
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
		j.note(journalRecord{ID: it.verdict.ID, Expires: until, Who: who})
	}
}

func (j *journal) note(r journalRecord) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.changes[r.ID] = r
}

// flush appends the changes, or writes the journal anew with what all returns
// when it has grown too long.
func (j *journal) flush(all func() []journalRecord) error {
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
	var lines []byte
	for _, r := range changes {
		var err error
		if lines, err = appendRecord(lines, &r); err != nil {
			return err
		}
	}
	if _, err := j.file.Write(lines); err != nil {
		j.broken = true
		return fmt.Errorf("write active verdicts: %w", err)
	}
	j.lines += len(changes)
	return nil
}

func appendRecord(dst []byte, r *journalRecord) ([]byte, error) {
	line, err := json.Marshal(r)
	if err != nil {
		return dst, fmt.Errorf("encode verdict %s: %w", r.ID, err)
	}
	return append(append(dst, line...), '\n'), nil
}

func (j *journal) rewrite(records []journalRecord) error {
	j.broken = true
	var content []byte
	for i := range records {
		var err error
		if content, err = appendRecord(content, &records[i]); err != nil {
			return err
		}
	}
	if j.file != nil {
		j.file.Close()
		j.file = nil
	}
	if err := replaceFile(j.path, content); err != nil {
		return fmt.Errorf("write active verdicts: %w", err)
	}
	file, err := os.OpenFile(j.path, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open active verdicts: %w", err)
	}
	j.file, j.lines, j.live = file, len(records), len(records)
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
