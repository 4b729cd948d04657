package controller

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// maxAuditOf is the most entries that are listed of one verdict.
const maxAuditOf = 256

// of lists the latest entries of one verdict, oldest first: those of the logs,
// and those in memory that have not got there yet.
func (a *auditLog) of(verdict string) ([]AuditEntry, error) {
	var list []AuditEntry
	if a.folder != "" {
		logs, err := filepath.Glob(filepath.Join(a.folder, "audit-*.jsonl"))
		if err != nil {
			return nil, fmt.Errorf("list audit logs: %w", err)
		}
		slices.Sort(logs) // by the time at which they were put aside
		for _, path := range append(logs, filepath.Join(a.folder, auditFile)) {
			if list, err = appendAudit(list, path, verdict); err != nil {
				return nil, err
			}
		}
	}
	written := len(list)
	for _, e := range a.entries() {
		if e.Verdict == verdict && !slices.ContainsFunc(list[:written], e.is) {
			list = append(list, e)
		}
	}
	return list[max(0, len(list)-maxAuditOf):], nil
}

func (e AuditEntry) is(o AuditEntry) bool {
	return e.Time.Equal(o.Time) && e.Who == o.Who && e.What == o.What && e.Target == o.Target
}

// appendAudit adds the entries of a verdict in one log, and forgets the oldest
// of too many. A log that was removed meanwhile has none.
func appendAudit(list []AuditEntry, path, verdict string) ([]AuditEntry, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return list, nil
	}
	if err != nil {
		return list, fmt.Errorf("read audit log: %w", err)
	}
	defer file.Close()
	lines := bufio.NewReaderSize(file, 256<<10)
	for {
		line, err := readLine(lines)
		if err != nil && err != io.EOF {
			return list, fmt.Errorf("read audit log: %w", err)
		}
		var e AuditEntry
		if bytes.Contains(line, []byte(verdict)) && json.Unmarshal(line, &e) == nil && e.Verdict == verdict {
			list = append(list, e)
			if len(list) >= 2*maxAuditOf {
				list = append(list[:0], list[maxAuditOf:]...)
			}
		}
		if err == io.EOF {
			return list, nil
		}
	}
}
