package controller

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

const (
	auditFile = "audit.jsonl"
	// auditKept is how many logs that were put aside are kept.
	auditKept = 8
	// maxAuditPending is the most entries that wait for the disk.
	maxAuditPending = 1 << 17
	// auditBatch is how many entries are written at once.
	auditBatch = 1 << 12
)

// AuditEntry is one thing that was done, or that a target answered.
type AuditEntry struct {
	Time    time.Time `json:"time"`
	Who     string    `json:"who"`  // a person, "detection", or "controller" for what follows from a rule
	What    string    `json:"what"` // accepted, changed, refused, waiting, approved, in_force, lifted, expired, evicted, off, on, mode, allow, restored, connected, disconnected, restarted, synced, rejected, unsupported
	Verdict string    `json:"verdict,omitempty"`
	Target  string    `json:"target,omitempty"`
	Detail  string    `json:"detail,omitempty"` // why, or the answer
}

// auditLog is a ring in memory and, with a folder, an append-only file of JSON
// Lines. When the file has reached its size it is put aside under the time of
// that, and the oldest such file is removed.
type auditLog struct {
	mu      sync.Mutex
	ring    []AuditEntry
	next    int // of the ring, once it is full
	pending []AuditEntry
	lost    uint64

	// The file is the clerk's alone.
	folder string
	limit  int64
	file   *os.File
	size   int64
	lines  bytes.Buffer // scratch
	spare  []AuditEntry // room for the next that are pending
}

func openAudit(folder string, ring int, limit int64) (*auditLog, error) {
	a := &auditLog{ring: make([]AuditEntry, 0, ring), folder: folder, limit: limit}
	if folder == "" {
		return a, nil
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("make state folder: %w", err)
	}
	return a, a.open()
}

func (a *auditLog) open() error {
	file, err := os.OpenFile(filepath.Join(a.folder, auditFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open audit log: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("open audit log: %w", errors.Join(err, file.Close()))
	}
	a.file, a.size = file, info.Size()
	return a.mend()
}

// mend takes away the part of a line that a crash may have left at the end.
func (a *auditLog) mend() error {
	file, err := os.Open(a.file.Name())
	if err != nil {
		return fmt.Errorf("read audit log: %w", err)
	}
	defer file.Close()
	tail := make([]byte, min(a.size, maxJournalLine))
	if _, err := file.ReadAt(tail, a.size-int64(len(tail))); err != nil {
		return fmt.Errorf("read audit log: %w", err)
	}
	if part := len(tail) - 1 - bytes.LastIndexByte(tail, '\n'); part > 0 {
		a.size -= int64(part)
		if err := a.file.Truncate(a.size); err != nil {
			return fmt.Errorf("mend audit log: %w", err)
		}
	}
	return nil
}

func (a *auditLog) add(e AuditEntry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.ring) < cap(a.ring) {
		a.ring = append(a.ring, e)
	} else {
		a.ring[a.next] = e
		a.next = (a.next + 1) % len(a.ring)
	}
	switch {
	case a.folder == "":
	case len(a.pending) >= maxAuditPending:
		a.lost++
	default:
		a.pending = append(a.pending, e)
	}
}

func (a *auditLog) entries() []AuditEntry {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Concat(a.ring[a.next:], a.ring[:a.next])
}

func (a *auditLog) lostCount() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lost
}

// flush writes what is pending. What fails waits for the next time; beyond
// maxAuditPending entries the latest are lost and counted.
func (a *auditLog) flush() error {
	a.mu.Lock()
	pending := a.pending
	if len(pending) == 0 {
		a.mu.Unlock()
		return nil
	}
	a.pending, a.spare = a.spare, nil
	a.mu.Unlock()
	for rest := pending; len(rest) > 0; {
		batch := rest[:min(len(rest), auditBatch)]
		if err := a.write(batch); err != nil {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.pending = append(rest, a.pending...)
			if over := len(a.pending) - maxAuditPending; over > 0 {
				a.pending = a.pending[:maxAuditPending]
				a.lost += uint64(over)
			}
			return err
		}
		rest = rest[len(batch):]
	}
	clear(pending)
	a.spare = pending[:0]
	return nil
}

func (a *auditLog) write(entries []AuditEntry) error {
	if a.file == nil || a.size >= a.limit {
		if err := a.rotate(); err != nil {
			return err
		}
	}
	a.lines.Reset()
	encoder := json.NewEncoder(&a.lines)
	for i := range entries {
		if err := encoder.Encode(&entries[i]); err != nil {
			return fmt.Errorf("encode audit entry: %w", err)
		}
	}
	n, err := a.file.Write(a.lines.Bytes())
	if err != nil {
		if n > 0 { // all of it is written again
			err = errors.Join(err, a.file.Truncate(a.size))
		}
		return fmt.Errorf("write audit log: %w", err)
	}
	a.size += int64(n)
	return nil
}

// rotate puts the log aside and begins a new one.
func (a *auditLog) rotate() error {
	path := filepath.Join(a.folder, auditFile)
	if a.file != nil {
		err := a.file.Close()
		a.file = nil
		if err != nil {
			return fmt.Errorf("close audit log: %w", err)
		}
		aside := filepath.Join(a.folder, "audit-"+time.Now().UTC().Format("20060102T150405.000000000Z")+".jsonl")
		if err := os.Rename(path, aside); err != nil {
			return fmt.Errorf("put audit log aside: %w", err)
		}
		old, err := filepath.Glob(filepath.Join(a.folder, "audit-*.jsonl"))
		if err != nil {
			return fmt.Errorf("list audit logs: %w", err)
		}
		slices.Sort(old)
		for ; len(old) > auditKept; old = old[1:] {
			if err := os.Remove(old[0]); err != nil {
				return fmt.Errorf("remove old audit log: %w", err)
			}
		}
	}
	return a.open()
}

func (a *auditLog) close() error {
	if a.file == nil {
		return nil
	}
	err := a.file.Close()
	a.file = nil
	if err != nil {
		return fmt.Errorf("close audit log: %w", err)
	}
	return nil
}
